"""Gemma: a large head dimension, and embeddings that scale themselves."""

from sliminfer.model.families.base import Family

GEMMA = Family("gemma", "Gemma")
