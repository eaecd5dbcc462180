"""`sliminfer space render|check|deploy`: the hosted page from its Spacefile."""

from __future__ import annotations

import os
from typing import Annotated

import typer

app = typer.Typer(help="The hosted page: render, check and deploy what the Spacefile says.", no_args_is_help=True)

ProfileName = Annotated[str | None, typer.Option(help="Profile of the Spacefile (default: its default_profile).")]


@app.command()
def render(
    profile: ProfileName = None,
    write: Annotated[bool, typer.Option("--write", help="Put the front matter into README.md.")] = False,
) -> None:
    """Print the README's front matter and the Space's requirements.txt for a profile."""
    from sliminfer.hosting import SPACEFILE, front_matter, read_spacefile, rendered_readme, rendered_requirements

    spacefile = read_spacefile()
    name = profile or spacefile.default_profile
    root = SPACEFILE.parent
    if write:
        readme = root / "README.md"
        readme.write_text(rendered_readme(spacefile, name, readme.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"README.md carries the front matter of the profile {name}.")
        return
    print(front_matter(spacefile, name), end="")
    print("\n# requirements.txt")
    print(rendered_requirements(spacefile, name, root), end="")


@app.command()
def check() -> None:
    """Exit with code 2 and one line where Spacefile, README.md and requirements.txt disagree."""
    from sliminfer.errors import ConfigError
    from sliminfer.hosting import SPACEFILE, read_spacefile
    from sliminfer.hosting.card import disagreements

    spacefile = read_spacefile()
    faults = disagreements(spacefile, SPACEFILE.parent)
    if faults:
        raise ConfigError(" ".join(faults))
    print(f"Spacefile, README.md and requirements.txt agree; profiles: {', '.join(spacefile.profiles)}.")


@app.command()
def deploy(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The Space to create or update.")],
    profile: ProfileName = None,
    private: Annotated[bool, typer.Option("--private", help="Create it as a private Space.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Really do it; without this the plan is printed.")] = False,
) -> None:
    """List what a deployment would send and set; with --publish, do it."""
    from huggingface_hub import HfApi

    from sliminfer.hosting import SPACEFILE, plan_deployment, read_spacefile

    spacefile = read_spacefile()
    name = profile or spacefile.default_profile
    plan = plan_deployment(spacefile, name, repo, SPACEFILE.parent, os.environ, private)
    if not publish:
        print("\n".join(plan.lines()))
        print("Nothing was sent: add --publish to do it.")
        return
    print(plan.publish(HfApi(), os.environ))
