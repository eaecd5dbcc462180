"""Which profile a process runs under, by its environment."""

from __future__ import annotations

from collections.abc import Mapping

from sliminfer.errors import ConfigError
from sliminfer.hosting.spacefile import Profile, Spacefile

PROFILE_VARIABLE = "SLIMINFER_PROFILE"


def chosen_profile(spacefile: Spacefile, environment: Mapping[str, str]) -> tuple[str, Profile] | None:
    """Name and profile for a process with `environment`; None on a machine of one's own.

    SLIMINFER_PROFILE names one; without it SPACES_ZERO_GPU means the profile on ZeroGPU hardware and SPACE_ID the
    default one, so a Space that nobody configured is still a hosted page with its limits. Raises ConfigError.
    """
    name = environment.get(PROFILE_VARIABLE, "").strip()
    zero = environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    if not name and zero:
        name = next((key for key, profile in spacefile.profiles.items() if profile.zero_gpu), "")
        if not name:
            raise ConfigError("This Space has ZeroGPU, but the Spacefile has no profile for it: add one.")
    if not name and environment.get("SPACE_ID"):
        name = spacefile.default_profile
    if not name:
        return None
    profile = spacefile.profile(name)
    if profile.zero_gpu != zero and environment.get("SPACE_ID"):
        kind = "has" if zero else "does not have"
        raise ConfigError(f"{PROFILE_VARIABLE} is {name}, but this Space {kind} ZeroGPU: set another profile.")
    return name, profile
