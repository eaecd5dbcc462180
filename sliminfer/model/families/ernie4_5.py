"""Ernie 4.5: neighbouring values of a head are rotated together."""

from sliminfer.model.families.base import Family

ERNIE4_5 = Family("ernie4_5", "Ernie 4.5")
