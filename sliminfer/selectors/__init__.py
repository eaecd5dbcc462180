"""The pruning methods, by name: the project's, those of installed packages, and those registered in this process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET, rule_of
from sliminfer.selectors.adaptive import Adaptive
from sliminfer.selectors.asl import Asl
from sliminfer.selectors.base import Attention, PrefillPlan, PromptView, PruneView, Selection, Selector
from sliminfer.selectors.bm25 import Bm25
from sliminfer.selectors.claa import Claa
from sliminfer.selectors.drafted import Drafted
from sliminfer.selectors.embedding import Embedding
from sliminfer.selectors.fastkv import FastKV
from sliminfer.selectors.full import Full
from sliminfer.selectors.gemfilter import GemFilter
from sliminfer.selectors.keydiff import KeyDiff
from sliminfer.selectors.lazyllm import LazyLLM
from sliminfer.selectors.oracle import Oracle
from sliminfer.selectors.random import Random
from sliminfer.selectors.scoring_rule import ScoringRule
from sliminfer.selectors.selfdraft import SelfDraft
from sliminfer.selectors.sliminfer import SlimInfer
from sliminfer.selectors.sparse_full import SparseFull
from sliminfer.selectors.specprefill import SpecPrefill
from sliminfer.selectors.streaming import Streaming

__all__ = [
    "Attention",
    "PrefillPlan",
    "PromptView",
    "PruneView",
    "Selection",
    "Selector",
    "available",
    "baselines",
    "check_method",
    "make_selector",
    "published",
    "register",
    "selector_class",
]

ENTRY_POINTS = "sliminfer.methods"  # the group under which a package names its methods, each as NAME = "MODULE:CLASS"
_OWN = (
    Full, SlimInfer, Adaptive, Drafted, SelfDraft,
    SpecPrefill, Bm25, Embedding, Claa, Asl, FastKV, LazyLLM, GemFilter, KeyDiff, Streaming,
    Random, Oracle,
)  # fmt: skip
_METHODS: dict[str, type[Selector]] = {method.name: method for method in _OWN}
# They prune nothing, so that what is asked of every pruning method is not asked of them.
_BASELINES: dict[str, type[Selector]] = {SparseFull.name: SparseFull}
_STUDIES: dict[str, type[Selector]] = {ScoringRule.name: ScoringRule}  # no methods to choose, but named in records


def available() -> tuple[str, ...]:
    """Names of all methods, the full model first: whatever offers a choice of methods offers these."""
    return tuple(dict.fromkeys((*_METHODS, *_installed())))


def baselines() -> tuple[str, ...]:
    """Names of the methods that save without pruning, to be offered beside those that do."""
    return tuple(_BASELINES)


def selector_class(name: str) -> type[Selector]:
    """The class of method `name`; raises ConfigError for an unknown one."""
    if name in _STUDIES or name in _BASELINES:
        return (_STUDIES | _BASELINES)[name]
    if name not in _METHODS and name in (installed := _installed()):
        register(_load(installed[name]))
    if name not in _METHODS:
        full, *others = available()
        raise ConfigError(f"Unknown method {name!r}: choose one of {', '.join((full, *baselines(), *others))}.")
    return _METHODS[name]


def register(method: type[Selector]) -> type[Selector]:
    """Make `method` known by its name to whatever runs in this process; usable as a class decorator."""
    _METHODS[method.name] = method
    return method


def make_selector(config: SlimConfig, prompt: PromptView) -> Selector:
    """The selector of `config.method` for one prompt."""
    return selector_class(config.method)(config, prompt)


def check_method(config: SlimConfig) -> None:
    """Raise ConfigError where `config.method` is unknown or cannot follow the steps or options of `config`."""
    selector_class(config.method).check(config)


def published(method: str, layers: int, model: str = "", seeing: Sequence[int] | None = None) -> SlimConfig:
    """The published setting of `method`, scaled to a model of `layers` layers; ours as `model` needs it.

    Its steps stand where one of `seeing` can choose, see `SlimConfig.preset`.
    """
    if method == SlimConfig.method and rule_of(model):
        return SlimConfig.preset(DEFAULT_PRESET, layers, model, seeing)
    return selector_class(method).published(layers).where_seen(seeing)


def _installed() -> dict[str, EntryPoint]:
    """What installed packages name as their methods, by name; none of it is imported yet."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load(point: EntryPoint) -> type[Selector]:
    """The method that a package names; raises ConfigError where there is none under that name."""
    owner = f"of package {point.dist.name}" if point.dist else "of an installed package"
    try:
        method = point.load()
    except Exception as error:
        raise ConfigError(
            f"Method {point.name} {owner} cannot be loaded ({error}): repair the package, or uninstall it."
        ) from error
    if not (isinstance(method, type) and issubclass(method, Selector) and method.name == point.name):
        raise ConfigError(
            f"{point.value} {owner} is no method of the name {point.name}: correct its entry point, or uninstall it."
        )
    return method
