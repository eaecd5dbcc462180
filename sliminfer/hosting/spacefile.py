"""The Spacefile's schema: every mistake in it is one sentence that names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from huggingface_hub import SpaceHardware

from sliminfer.assets import SPACEFILE
from sliminfer.errors import ConfigError, needs_extra
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import DEMO_MODEL

try:
    from pydantic import (
        BaseModel,
        ConfigDict,
        Field,
        StringConstraints,
        ValidationError,
        field_validator,
        model_validator,
    )
except ImportError as missing:
    raise ConfigError(needs_extra("A hosted page", "pydantic", "hosting")) from missing

ZERO_HARDWARE = "zero-a10g"
ZERO_PYTHON = ("3.12.12",)  # 3.10.13 is offered too, but is older than this project
ZERO_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")

Colour = Literal["red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\n\r]*$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+(\.\d+)?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Card(_Strict):
    """What the Hub shows of the Space, under the Hub's own names."""

    title: Line
    emoji: Annotated[str, StringConstraints(min_length=1, max_length=8, pattern=r"^[^\x00-\x7f]+$")]
    colorFrom: Colour
    colorTo: Colour
    short_description: Annotated[Line, StringConstraints(max_length=60)]
    license: Tag
    app_file: Line
    sdk: Literal["gradio"]
    sdk_version: Version
    startup_duration_timeout: Annotated[str, StringConstraints(pattern=r"^[1-9]\d*[mh]$")]
    tags: list[Tag] = Field(min_length=1)


class Limits(_Strict):
    """What one visitor may ask of a hosted page."""

    upload_mb: int = Field(ge=1, le=200)
    prompt_tokens: int = Field(ge=512, le=1_048_576)
    new_tokens: int = Field(ge=1, le=8192)
    gpu_seconds: int = Field(ge=10, le=3600)
    queue_size: int = Field(ge=1, le=1000)
    per_client: int = Field(default=2, ge=1, le=1000)


class ReadingLimits(_Strict):
    """MiB of documents that were read once and wait for more questions, of all visitors together; 0 holds none."""

    device_mb: int = Field(default=0, ge=0, le=1_048_576)
    host_mb: int = Field(default=0, ge=0, le=1_048_576)
    file_mb: int = Field(default=0, ge=0, le=1_048_576)


class Profile(_Strict):
    """One kind of hardware and what the page offers on it."""

    hardware: Line | None
    python: Version
    torch: Version
    device: Literal["cpu", "cuda", "auto"]
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"]
    models: list[Line] = Field(min_length=1)
    limits: Limits
    readings: ReadingLimits = ReadingLimits()
    preload: list[Line] = Field(default_factory=list)
    gpu_extras: bool = False
    sleep_minutes: int | None = Field(default=None, ge=5, le=1440)
    environment: dict[Name, str] = Field(default_factory=dict)

    @field_validator("hardware")
    @classmethod
    def _lent(cls, hardware: str | None) -> str | None:
        if hardware is not None and hardware not in set(SpaceHardware):
            raise ValueError(f"the Hub lends no {hardware!r}; take one of {', '.join(SpaceHardware)}, or null")
        return hardware

    @model_validator(mode="after")
    def _agrees(self) -> Profile:
        unknown = [name for name in self.models if name != DEMO_MODEL and name not in KNOWN]
        if unknown:
            raise ValueError(f"{unknown[0]} is not a known model; see `python -m sliminfer models`")
        if len(set(self.models)) < len(self.models):
            raise ValueError("a model is listed twice")
        stray = [name for name in self.preload if name not in self.models or name == DEMO_MODEL]
        if stray:
            raise ValueError(f"{stray[0]} is preloaded but is no Hub model on the profile's list")
        if self.zero_gpu:
            if self.readings != ReadingLimits():
                raise ValueError("on ZeroGPU nothing stays read: leave readings out")
            if self.python not in ZERO_PYTHON:
                raise ValueError(f"ZeroGPU runs Python {' or '.join(ZERO_PYTHON)}, not {self.python}")
            if self.torch not in ZERO_TORCH:
                raise ValueError(f"ZeroGPU runs torch {', '.join(ZERO_TORCH)}, not {self.torch}")
        if tuple(map(int, self.python.split(".")[:2])) < (3, 11):
            raise ValueError(f"Python {self.python} is older than 3.11")
        return self

    @property
    def zero_gpu(self) -> bool:
        """Whether the GPU is lent call by call."""
        return self.hardware == ZERO_HARDWARE


class Spacefile(_Strict):
    """The whole file."""

    card: Card
    default_profile: str
    environment: dict[Name, str] = Field(default_factory=dict)
    secrets: list[Name] = Field(default_factory=list)
    profiles: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")], Profile] = Field(min_length=1)

    @model_validator(mode="after")
    def _agrees(self) -> Spacefile:
        if self.default_profile not in self.profiles:
            raise ValueError(f"default_profile {self.default_profile!r} is not among the profiles")
        for name, profile in self.profiles.items():
            leaked = set(self.secrets) & (set(self.environment) | set(profile.environment))
            if leaked:
                raise ValueError(f"{min(leaked)} is a secret, so it must not be in an environment (profile {name})")
        return self

    def profile(self, name: str) -> Profile:
        """The profile `name`; raises ConfigError."""
        if name not in self.profiles:
            raise ConfigError(f"The Spacefile has no profile {name!r}: use one of {', '.join(self.profiles)}.")
        return self.profiles[name]

    def variables(self, name: str) -> dict[str, str]:
        """Environment variables of a Space with profile `name`; what is set by hand wins over the defaults."""
        return {**self.environment, **self.profile(name).environment, "SLIMINFER_PROFILE": name}


def read_spacefile(path: Path = SPACEFILE) -> Spacefile:
    """The Spacefile at `path`. Raises ConfigError, one sentence, for anything wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): run from a checkout of the project.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text: save it as UTF-8.") from error
    return parse_spacefile(text, path.name)


def parse_spacefile(text: str, name: str = "Spacefile") -> Spacefile:
    """The Spacefile in `text`; raises ConfigError."""
    try:
        data: Any = yaml.load(text, Loader=_UniqueKeys)  # nosec B506
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" at line {where.line + 1}"
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(f"{name} is not valid YAML{line} ({problem}): correct it there.") from error
    except (ValueError, RecursionError) as error:  # such as a date that is none
        raise ConfigError(f"{name} is not valid YAML ({_one_line(str(error))}): correct it.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name} holds no mapping: it needs card, default_profile and profiles.")
    try:
        return Spacefile.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the file"
        what = _one_line(fault["msg"].removeprefix("Value error, "))
        raise ConfigError(f"{name}, {place}: {what}; correct it there.") from error


class _UniqueKeys(yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that takes no aliases (a few lines of them can fill the memory) and no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
