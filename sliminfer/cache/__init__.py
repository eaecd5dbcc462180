"""The KV-cache manager: what is kept after pruning, and where it lives while the answer is written."""

from sliminfer.cache.copies import Copy, CopyEngine, CopyError, CopyStats
from sliminfer.cache.copy_engines import OnDemandEngine, SyncCopyEngine, copy_engine_for
from sliminfer.cache.layers import LayerBytes
from sliminfer.cache.pools import HostPool
from sliminfer.cache.records import CacheEvent, Refresh, StagePlaced, StepCost
from sliminfer.cache.sim_engine import Link, SimCopyEngine, VirtualClock
from sliminfer.cache.slim_cache import SlimCache

__all__ = [
    "CacheEvent",
    "Copy",
    "CopyEngine",
    "CopyError",
    "CopyStats",
    "HostPool",
    "LayerBytes",
    "Link",
    "OnDemandEngine",
    "Refresh",
    "SimCopyEngine",
    "SlimCache",
    "StagePlaced",
    "StepCost",
    "SyncCopyEngine",
    "VirtualClock",
    "copy_engine_for",
]
