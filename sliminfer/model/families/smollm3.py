"""SmolLM3: every fourth layer rotates nothing."""

from sliminfer.model.families.base import Family

SMOLLM3 = Family("smollm3", "SmolLM3", rotates=lambda attention: bool(attention.use_rope))
