"""Mistral: every layer may have a sliding window."""

from sliminfer.model.families.base import Family

MISTRAL = Family("mistral", "Mistral", fused="Mistral")
