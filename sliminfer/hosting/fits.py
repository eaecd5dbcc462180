"""Whether the models of a profile fit the hardware that it asks for, before anybody pays for it."""

from __future__ import annotations

from sliminfer.documents.document import MIB
from sliminfer.hosting.spacefile import Profile, Spacefile
from sliminfer.model.known import known_models

# GB that one model can take on the Hub's hardware: of one GPU, or of the host where there is none. ZeroGPU and machines
# with several GPUs are not in it: what a loan or a split gives is not said in one number.
HARDWARE_GB = {
    "cpu-basic": 16, "cpu-upgrade": 32, "t4-small": 16, "t4-medium": 16, "l4x1": 24, "l40sx1": 48, "a10g-small": 24,
    "a10g-large": 24, "a100-large": 80,
}  # fmt: skip


def overfull(spacefile: Spacefile) -> list[str]:
    """Models that would not fit with the longest prompt and answer of their profile, as sentences; empty if none."""
    return [fault for name, profile in spacefile.profiles.items() for fault in _overfull(name, profile)]


def _overfull(name: str, profile: Profile) -> list[str]:
    room = HARDWARE_GB.get(profile.hardware or "")
    if room is None:
        return []
    known, limits, found = known_models(), profile.limits, []
    on_host = profile.hardware in ("cpu-basic", "cpu-upgrade")
    readings = MIB * (profile.readings.device_mb + (profile.readings.host_mb if on_host else 0))
    for model in (model for model in profile.models if model in known):
        tokens = min(limits.prompt_tokens + limits.new_tokens, known[model].shape.context)
        width = 4 if on_host else 2  # processors without bf16 run in fp32
        need = known[model].memory(tokens, width, profile.attention).total + readings
        if need > room * 1e9:
            found.append(
                f"Profile {name} offers {model} with {tokens:,} tokens, which takes {need / 1e9:.1f} GB with "
                f"readings, on {profile.hardware} with {room} GB: lower prompt_tokens or readings, or take the model "
                "off its list."
            )
    return found
