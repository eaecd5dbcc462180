"""Granite MoE with an expert that every token passes."""

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.model.families.granite import embedding_scale, logit_scale

GRANITEMOESHARED = Family(
    "granitemoeshared",
    "Granite MoE, shared",
    shape=counted,
    embedding_scale=embedding_scale,
    logit_scale=logit_scale,
    output=MoeModelOutputWithPast,
)
