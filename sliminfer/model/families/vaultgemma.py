"""VaultGemma: as Gemma 2, without the norms after attention and MLP."""

from sliminfer.model.families.base import Family
from sliminfer.model.families.counted import counted
from sliminfer.model.families.gemma2 import logit_cap, softmax

VAULTGEMMA = Family(
    "vaultgemma",
    "VaultGemma",
    backends=("flash_attention_2",),
    softmax=softmax,
    logit_cap=logit_cap,
    shape=counted,
)
