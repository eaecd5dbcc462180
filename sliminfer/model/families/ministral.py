"""Ministral: layers with a window among those that see everything."""

from sliminfer.model.families.base import Family

MINISTRAL = Family("ministral", "Ministral")
