"""SlimInfer Studio: `python app.py` serves the page on this machine; `python app.py --help` for the rest."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):  # on a ZeroGPU Space it must come before anything that touches CUDA
    import spaces  # noqa: F401

from typing import Annotated

import typer

from sliminfer.config import DEFAULT_PRESET
from sliminfer.errors import SlimError
from sliminfer.models import DEMO_MODEL


def main(
    model: Annotated[
        str, typer.Option(help="demo, a Hub id, or a folder with config.json and safetensors.")
    ] = DEMO_MODEL,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 serves the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7860,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or balanced over all GPUs.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
) -> None:
    """Serve the page: upload a document, ask, and watch full and pruned inference side by side."""
    from viz.page.serve import open_site, serve

    try:
        site = open_site(model, device, dtype, DEFAULT_PRESET)
        serve(site, host, port)
    except (SlimError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
