"""The door of one page: the layers of `viz.door` with this page's own limits, events and endpoints."""

from __future__ import annotations

import os

import gradio as gr
from starlette.middleware import Middleware

from viz.door.admission import Admission
from viz.door.allowance import Allowance
from viz.door.bodies import BodyLimits, BoundedBodies
from viz.door.calls import CheckedCalls, Endpoint, Served
from viz.door.first_light import FirstLight
from viz.door.gate import Layer
from viz.door.headers import Headers, Whereabouts
from viz.door.listening import Listening
from viz.door.policy import PagePolicy
from viz.door.quiet import Quiet
from viz.door.routes import OpenRoutes
from viz.door.uploads import FILES_AN_HOUR, BoundedUploads, Folder
from viz.door.visits import Visits
from viz.page.compat import server_functions
from viz.page.site import Site
from viz.page.waiting import VisitorQueue


def layers(
    site: Site, page: gr.Blocks, queue: VisitorQueue, folder: Folder, hosted: bool
) -> tuple[Layer, ...]:
    """What every request passes, outermost first. On a machine of one's own all clients are its owner."""
    bodies, served = BodyLimits.of(site.longest_text, site.upload_limit), served_by(page)
    allowance = Allowance(FILES_AN_HOUR * bodies.upload) if hosted else None
    visits = Visits() if hosted else None
    inner: tuple[Layer, ...] = (
        lambda app: BoundedUploads(app, folder, bodies.upload, allowance),
        lambda app: BoundedBodies(app, bodies),
        lambda app: CheckedCalls(app, served, visits),
        lambda app: Listening(app, queue),
    )
    where = Whereabouts.of(hosted, os.environ)
    outer: tuple[Layer, ...] = (lambda app: Headers(app, where), Quiet, *((Admission,) if hosted else ()), OpenRoutes)
    return (*outer, *inner)


def middleware(hosted: bool, light: tuple[str, str]) -> list[Middleware]:
    """What stands inside of Gradio's own layers; `light` is the head and the body that the page is sent with."""
    head, body = light
    return [
        Middleware(PagePolicy, ancestors=Whereabouts.of(hosted, os.environ).ancestors),
        Middleware(FirstLight, head=head, body=body),
    ]


def served_by(page: gr.Blocks) -> Served:
    """What can be called on `page`."""
    endpoints = page.get_api_info()["named_endpoints"]
    functions = {number: server_functions(part) for number, part in page.blocks.items()}
    return Served(
        events={number: len(event.inputs) for number, event in page.fns.items() if event.fn is not None},
        endpoints={
            name.lstrip("/"): Endpoint(
                inputs=len(endpoint["parameters"]),
                names=frozenset(each["parameter_name"] for each in endpoint["parameters"]),
                required=frozenset(
                    each["parameter_name"] for each in endpoint["parameters"] if not each["parameter_has_default"]
                ),
            )
            for name, endpoint in endpoints.items()
        },
        functions={number: names for number, names in functions.items() if names},
    )
