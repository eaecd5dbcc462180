"""Publishing: what goes to the Hub, listed first and sent only on request. Secrets are named, never shown."""

from __future__ import annotations

import re
import subprocess  # nosec B404
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sliminfer.errors import ConfigError, SlimError
from sliminfer.hosting.card import disagreements, rendered_readme, rendered_requirements
from sliminfer.hosting.spacefile import Spacefile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# A secret NAME is taken from SPACE_SECRET_NAME, so that the deployer's own token never becomes the Space's by accident.
SECRET_PREFIX = "SPACE_SECRET_"  # nosec B105
LEFT_AT_HOME = ("tests/", "benchmarks/", ".ci/", ".github/")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class DeployError(SlimError):
    """The Hub could not be reached, or refused."""


@dataclass(frozen=True)
class Deployment:
    """Everything that a deployment does.

    Attributes:
        files: path in the Space -> bytes, or the file on disk they come from.
        variables: environment variables to set.
        secrets: names of the secrets to set; their values stay in the environment.
        missing: secrets that the Spacefile names and the environment does not hold.
    """

    repo: str
    profile: str
    hardware: str
    private: bool
    sleep_seconds: int | None
    files: Mapping[str, bytes | Path]
    variables: Mapping[str, str]
    secrets: tuple[str, ...]
    missing: tuple[str, ...]

    def lines(self) -> list[str]:
        """What would happen, for people; without the value of any secret."""
        sizes = {name: _size(content) for name, content in self.files.items()}
        who = "private" if self.private else "public"
        sleep = "" if self.sleep_seconds is None else f", asleep after {self.sleep_seconds // 60} idle minutes"
        return [
            f"Space {self.repo} ({who}), profile {self.profile}, hardware {self.hardware}{sleep}",
            *(f"  variable {name}={value}" for name, value in self.variables.items()),
            *(f"  secret {name} (from {SECRET_PREFIX}{name})" for name in self.secrets),
            *(f"  secret {name} is left as it is ({SECRET_PREFIX}{name} is not set)" for name in self.missing),
            *(f"  file {name} ({size:,} bytes)" for name, size in sizes.items()),
            f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB",
        ]

    def publish(self, api: HfApi, environment: Mapping[str, str]) -> str:
        """Create or update the Space; returns its address. Raises DeployError, without any secret in its words."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, SpaceHardware

        try:
            api.create_repo(self.repo, repo_type="space", space_sdk="gradio", private=self.private, exist_ok=True)
            for name, value in self.variables.items():
                api.add_space_variable(self.repo, name, value)
            for name in self.secrets:
                api.add_space_secret(self.repo, name, environment[SECRET_PREFIX + name])
            there = api.list_repo_files(self.repo, repo_type="space")
            stale = [path for path in there if path not in self.files and path != ".gitattributes"]
            operations: list[Any] = [CommitOperationDelete(path) for path in stale]
            operations += [CommitOperationAdd(name, _content(content)) for name, content in self.files.items()]
            api.create_commit(self.repo, operations, commit_message=f"Deploy {self.profile}", repo_type="space")
            api.request_space_hardware(self.repo, SpaceHardware(self.hardware), sleep_time=self.sleep_seconds)
        except Exception as error:  # a refusal of the Hub, or no network; its text may quote the request
            raise DeployError(
                f"The Hub did not take it ({type(error).__name__}): check the network, the name {self.repo}, and that "
                "your token may write there."
            ) from None
        return f"https://huggingface.co/spaces/{self.repo}"


def plan_deployment(
    spacefile: Spacefile, name: str, repo: str, root: Path, environment: Mapping[str, str], private: bool = False
) -> Deployment:
    """The deployment of profile `name` to the Space `repo`. Raises ConfigError."""
    profile = spacefile.profile(name)
    if not _REPO.fullmatch(repo):
        raise ConfigError(f"{repo!r} is no Space: write it as OWNER/NAME.")
    if profile.hardware is None:
        raise ConfigError(f"The Hub lends no hardware for {name}: set SLIMINFER_PROFILE={name} on your own machine.")
    faults = disagreements(spacefile, root)
    if faults:
        raise ConfigError(faults[0])
    files: dict[str, bytes | Path] = {path: root / path for path in project_files(root)}
    files["README.md"] = rendered_readme(spacefile, name, (root / "README.md").read_text(encoding="utf-8")).encode()
    files["requirements.txt"] = rendered_requirements(spacefile, name, root).encode()
    at_hand = tuple(secret for secret in spacefile.secrets if environment.get(SECRET_PREFIX + secret))
    return Deployment(
        repo=repo,
        profile=name,
        hardware=profile.hardware,
        private=private,
        sleep_seconds=None if profile.sleep_minutes is None else 60 * profile.sleep_minutes,
        files=dict(sorted(files.items())),
        variables=spacefile.variables(name),
        secrets=at_hand,
        missing=tuple(secret for secret in spacefile.secrets if secret not in at_hand),
    )


def project_files(root: Path) -> list[str]:
    """The tracked files that the page needs. Raises ConfigError outside a git checkout."""
    try:
        listed = subprocess.run(  # nosec B603 B607
            ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, timeout=60
        ).stdout.decode()
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError("Only a git checkout can be deployed, as only tracked files are sent: clone it.") from error
    paths = (path for path in listed.split("\0") if path and not path.startswith(LEFT_AT_HOME))
    return [path for path in paths if (root / path).is_file()]


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _content(content: bytes | Path) -> bytes | str:
    return content if isinstance(content, bytes) else str(content)
