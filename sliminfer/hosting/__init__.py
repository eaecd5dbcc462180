"""Hosting: the Spacefile, what is rendered from it, and how it is published."""

from sliminfer.assets import SPACEFILE
from sliminfer.hosting.card import front_matter, rendered_readme, rendered_requirements
from sliminfer.hosting.choose import chosen_profile
from sliminfer.hosting.deploy import Deployment, plan_deployment
from sliminfer.hosting.spacefile import Card, Limits, Profile, Spacefile, read_spacefile

__all__ = [
    "SPACEFILE",
    "Card",
    "Deployment",
    "Limits",
    "Profile",
    "Spacefile",
    "chosen_profile",
    "front_matter",
    "plan_deployment",
    "read_spacefile",
    "rendered_readme",
    "rendered_requirements",
]
