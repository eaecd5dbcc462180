"""Seed-OSS: biases of queries, keys and values."""

from sliminfer.model.families.base import Family

SEED_OSS = Family("seed_oss", "Seed-OSS")
