"""The About tab: the method, what every number means, the limits, what this runs on."""

from __future__ import annotations

from viz.page.site import Site


def html(site: Site) -> str:
    """The tab's content."""
    return ""
