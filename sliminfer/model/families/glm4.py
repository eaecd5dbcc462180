"""GLM-4-0414: as GLM-4, with norms after attention and MLP as well."""

from sliminfer.model.families.base import Family

GLM4 = Family("glm4", "GLM-4-0414")
