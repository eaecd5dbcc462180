"""Helium: neighbouring values of a head are rotated together."""

from sliminfer.model.families.base import Family

HELIUM = Family("helium", "Helium")
