"""LFM2 with experts behind the first layers."""

from dataclasses import replace

from transformers.modeling_outputs import MoeModelOutputWithPast

from sliminfer.model.families.lfm2 import LFM2

LFM2_MOE = replace(LFM2, model_type="lfm2_moe", label="LFM2 MoE", rotary="pos_emb", output=MoeModelOutputWithPast)
