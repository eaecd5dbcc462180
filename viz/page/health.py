"""GET /health: what a load balancer or a monitor needs to know, and nothing about any visitor."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from viz.page.compat import running_events, takes_events, waiting_events
from viz.page.site import Site


def health_route(site: Site, page: gr.Blocks) -> Route:
    """The route; answers 200 while the page takes visitors and 503 once it is closing."""

    async def health(_: Request) -> JSONResponse:
        told = health_report(site, page)
        return JSONResponse(told, status_code=200 if told["status"] == "ok" else 503)

    return Route("/health", health, methods=["GET"])


def health_report(site: Site, page: gr.Blocks) -> dict[str, Any]:
    """Status, devices (how many compute), waiting (runs in the queue), running (runs under way), and of the model
    in memory its name, layers, device, dtype and attention."""
    loaded = site.shelf.any_loaded()
    report: dict[str, Any] = {
        "status": "ok" if takes_events(page) else "closing",
        "devices": len(site.shelf.devices),
        "waiting": waiting_events(page),
        # A stopped run's stream is over a layer before the device is free.
        "running": max(site.shelf.busy, running_events(page)),
        "model": None,
    }
    if loaded is not None:
        report |= {
            "model": loaded.name,
            "layers": loaded.layers,
            "device": loaded.device_name,
            "dtype": loaded.dtype_name,
            "attention": loaded.attention,
        }
    return report
