"""Command R: attention and MLP side by side, LayerNorm, logits with a scale of their own."""

from sliminfer.model.families.base import Family

COHERE = Family("cohere", "Command R", logit_scale=lambda config: float(config.logit_scale))
