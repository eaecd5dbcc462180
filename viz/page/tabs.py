"""The tabs of the page, in their order. A new one is a file of its own and its name here."""

from __future__ import annotations

from viz.page.about import AboutTab
from viz.page.cache import CacheTab
from viz.page.compare import CompareTab
from viz.page.conversation import ConversationTab
from viz.page.diffusion import DiffusionTab
from viz.page.kept import KeptTab
from viz.page.methods import MethodsTab
from viz.page.runs import RunsTab
from viz.page.tab import Tab

TABS: tuple[type[Tab], ...] = (
    CompareTab,
    KeptTab,
    ConversationTab,
    DiffusionTab,
    CacheTab,
    RunsTab,
    MethodsTab,
    AboutTab,
)
