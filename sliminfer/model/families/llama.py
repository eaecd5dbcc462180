"""Llama, and the many models that share its classes."""

from sliminfer.model.families.base import Family

LLAMA = Family("llama", "Llama", fused="Llama")
