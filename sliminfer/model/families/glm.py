"""GLM-4 of 2024: a part of each head is not rotated."""

from sliminfer.model.families.base import Family

GLM = Family("glm", "GLM-4")
