"""SlimCache: the KV cache of a pruned run, each layer with its own tokens, and blocks on the host in decode."""

from __future__ import annotations

import contextlib
import copy
import warnings
import weakref
from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from sliminfer.cache.copies import CopyEngine, CopyError, CopyStats
from sliminfer.cache.copy_engines import EngineFactory, copy_engine_for
from sliminfer.cache.kept import Kept
from sliminfer.cache.layers import LayerBytes, RaggedLayer
from sliminfer.cache.pools import HostLease, HostPool
from sliminfer.cache.records import CacheEvent, StagePlaced, StepCost
from sliminfer.cache.residency import ManagedStage, UnitScorer
from sliminfer.cache.stages import (
    Stage,
    Survivors,
    check_active,
    check_attending,
    forced_spans,
    scoring_layers,
    stage_layout,
)
from sliminfer.cache.state import StateLayer
from sliminfer.errors import ConfigError, MemoryLimitError, SlimError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig


class SlimCache(Cache):
    """A transformers cache whose layers hold different tokens and, with `config.active`, few of their blocks.

    The layer loop uses it like any cache, and calls it as a `PromptStore`:

        prefill   `observe_query(i, q)` before each layer i for which `wants_query(i)`,
                  `finish_prefill(positions)` after the last layer;
        decode    `begin_step()` before the first layer, and `observe_query` as above.

    Without `active` only the layers' growing buffers are at work and the calls do next to nothing.
    Layers before the first prune step keep the whole prompt on the device, unless `config.active_preserve` says
    that they hold a working set too. `close` ends the use of the host pool; a cache that is dropped without
    it closes itself.

    Attributes:
        stages: the model's stages.
        prefilled: whether `finish_prefill` was called.
        step: the decode step under way, 1 for the first.
    """

    layers: list[RaggedLayer]  # type: ignore[assignment]

    def __init__(
        self,
        config: SlimConfig,
        layers: int,
        blocks: BlockMap,
        *,
        reserve: int = 256,
        pool: HostPool | None = None,
        engine_for: EngineFactory = copy_engine_for,
        device_limit: int | None = None,
        attending: Sequence[bool] | None = None,
        seeing: Sequence[int] | None = None,
    ) -> None:
        """An empty cache for one prompt.

        Args:
            config: prune steps and the working set's `active`, `refresh`, `gamma`, `decode_unit_size`.
            layers: decoder layers of the model.
            blocks: the prompt's block map; its forced blocks never leave the device.
            reserve: tokens to come for which each layer has room at once.
            pool: host memory that outlives the request; by default one of its own.
            engine_for: gives the copy engine of a device.
            device_limit: most bytes of KV on the device once the working sets are in place.
            attending: whether each layer attends; None for all. The others have a state in place of keys.
            seeing: the layers that see the whole prompt and so may score; None for all.

        Raises:
            ConfigError: `active` is a token count too small for the forced blocks, or set where a layer has no keys.
        """
        attends = [True] * layers if attending is None else attending
        # What is not common to both kinds of layers is asked for with `active` alone.
        super().__init__(layers=[RaggedLayer(reserve) if each else cast(Any, StateLayer()) for each in attends])
        check_attending(config, attends)
        check_active(config, blocks)
        self.config = config
        self.stages = stage_layout([step.layer for step in config.steps], layers)
        self.step = 0
        self._blocks = blocks
        self._pool = pool
        self._engine_for = engine_for
        self._device_limit = device_limit
        self._scored_by = scoring_layers(config, self.stages, seeing)
        self._queries: dict[int, Tensor] = {}
        self._managed: dict[int, ManagedStage] = {}
        self.prefilled = False
        self._closed = False
        self._events: list[CacheEvent] = []
        self._known = CopyStats()
        self._engines: dict[torch.device, CopyEngine] = {}
        self._leases: list[HostLease] = []
        self._finalizer = weakref.finalize(self, _release, self._engines, self._leases)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A cache of its own that holds the same; raises ConfigError where a part waits on the host."""
        if self._leases or not self.whole:
            raise ConfigError(
                "A SlimCache whose blocks wait on the host cannot be copied: leave active out to read a prefix once."
            )
        twin = memo[id(self)] = type(self).__new__(type(self))
        engines: dict[torch.device, CopyEngine] = {}
        leases: list[HostLease] = []
        own: dict[str, Any] = {
            "_engines": engines, "_leases": leases, "_pool": self._pool, "_engine_for": self._engine_for,
            "_finalizer": weakref.finalize(twin, _release, engines, leases),
        }  # fmt: skip
        for name, value in vars(self).items():
            setattr(twin, name, own[name] if name in own else copy.deepcopy(value, memo))
        return twin

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append to layer `layer_idx`; all its keys and values, [1, kv_heads, resident, head_dim] each.

        Raises:
            CopyError: a block could not be brought to the device; the cache is closed.
        """
        self._check_open()
        try:
            return self.layers[layer_idx].update(key_states, value_states)
        except CopyError:
            self.close()
            raise

    def wants_query(self, layer_idx: int) -> bool:
        """Whether `observe_query` is due before layer `layer_idx` of the call under way.

        It is for the layers that score, see `scoring_layers`.
        """
        if not self.prefilled:
            return layer_idx in self._scored_by.values()
        due = self._managed and self.step % self.config.refresh == 0
        return bool(due) and any(self._scored_by[stage] == layer_idx for stage in self._managed)

    def observe_query(self, layer_idx: int, query: Tensor) -> None:
        """The queries after RoPE that layer `layer_idx` is about to use [q_heads, tokens, head_dim].

        In prefill those of the prompt's last positions; they choose the first working set.
        """
        if self.prefilled:
            for index, managed in self._managed.items():
                if self._scored_by[index] == layer_idx:
                    managed.observe(query)
        else:
            self._queries[layer_idx] = query

    def finish_prefill(self, positions: Sequence[Tensor]) -> None:
        """The prompt is complete: survivors take their places, on the device and on the host.

        Args:
            positions: for each layer, the ascending original positions it holds. A second call does nothing.

        Raises:
            MemoryLimitError: the working sets exceed `device_limit` or the device's memory.
        """
        if self.prefilled:
            return
        self._check_open()
        for layer in self.layers:
            layer.end_of_prompt()
        self.prefilled = True
        if self.config.active is None:
            return
        try:
            # Keys that score a stage may belong to the one before: take them while it is still as prefill left it.
            scorers = {index: self._scorer(index, positions) for index in self._scored_by}
            for stage in filter(lambda each: each.layers, self.stages):
                self._place(stage, positions[stage.first].tolist(), scorers.get(stage.index))
            self._check_device_limit()
        except SlimError:
            self.close()
            raise
        except torch.OutOfMemoryError as error:
            self.close()
            raise MemoryLimitError(
                "The device has no room for the working sets beside the prompt's KV: lower active, prune harder "
                "or use a shorter document."
            ) from error

    def begin_step(self) -> None:
        """A decode step is about to run: act on what the last one's query asked for."""
        self._note_costs()
        self.step += 1
        try:
            for managed in self._managed.values():
                managed.settle()
                refresh = managed.advance(self.step)
                if refresh is not None:
                    self._events.append(refresh)
        except CopyError:
            self.close()
            raise

    @property
    def swaps(self) -> bool:
        """Whether blocks may move between the device and the host while the answer goes on."""
        return bool(self._managed)

    def settle(self, layers: range) -> None:
        """Let the compute go on to `layers` only when the blocks that are on their way to them have arrived."""
        try:
            for layer in self.layers[layers.start : layers.stop]:
                layer.settle()
        except CopyError:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether it was closed, and holds nothing any more."""
        return self._closed

    @property
    def target(self) -> Cache:
        return self

    @property
    def whole(self) -> bool:
        return all(layer.whole for layer in self.layers)

    def hold(self, layer: int, kept: Kept) -> None:
        self.layers[layer].kept = kept

    def keys(self, layer: int) -> Tensor:
        return self.layers[layer].all_keys()

    def forget(self) -> None:
        for layer in self.layers:
            layer.reset()

    def key_positions(self, layer_idx: int) -> Tensor | None:
        """Original positions of the layer's resident prompt tokens in the order of its keys, int64 [resident].

        None where the layer holds its survivors in ascending order, as prefill left them.
        """
        for managed in self._managed.values():
            if layer_idx in managed.stage.layers:
                return managed.key_positions()
        return None

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Keys of the layer that come before the query's own."""
        return self.layers[layer_idx].length

    def kv_bytes(self) -> tuple[LayerBytes, ...]:
        """Bytes held by each layer, equal to the sum of its tensors."""
        return tuple(layer.bytes() for layer in self.layers)

    @property
    def host_slab_bytes(self) -> int:
        """Bytes of the host slabs lent to this cache, the unused end of each included."""
        return sum(lease.slab_bytes for lease in self._leases)

    def drain_events(self) -> list[CacheEvent]:
        """What happened since the last call, in order."""
        self._note_costs()
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Finish the copies in flight, give the slabs back and drop all KV; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._finalizer()
        self._note_costs()
        self._managed.clear()
        self._queries.clear()
        for layer in self.layers:
            layer.reset()

    def reset(self) -> None:
        """As `close`: a used SlimCache belongs to its prompt."""
        self.close()

    def _scorer(self, stage: int, positions: Sequence[Tensor]) -> UnitScorer:
        scoring, survivors = self._scored_by[stage], positions[self.stages[stage].first]
        rows = torch.searchsorted(positions[scoring], survivors)
        keys = self.layers[scoring].prompt_keys()
        return UnitScorer(keys.index_select(1, rows.to(keys.device)), self.config)

    def _place(self, stage: Stage, positions: list[int], scorer: UnitScorer | None) -> None:
        survivors = Survivors.of(positions, self.config.decode_block_size, forced_spans(self._blocks))
        layers = self.layers[stage.first : stage.end]
        token_bytes = sum(layer.token_bytes for layer in layers)
        block_bytes = token_bytes * self.config.decode_block_size
        managed, note = None, ""
        if scorer is not None and survivors.slots(self._active) < len(survivors):
            try:
                managed = self._manage(stage, survivors, scorer, block_bytes // len(layers))
            except MemoryLimitError as error:
                note = f"Stage {stage.index} keeps all its blocks on the device: {error}"
                warnings.warn(note, RuntimeWarning, stacklevel=4)
        held = self.kv_bytes()[stage.first : stage.end]
        self._events.append(
            StagePlaced(
                stage=stage.index,
                first_layer=stage.first,
                end_layer=stage.end,
                tokens=len(positions),
                extents=tuple(map(survivors.extent, range(len(survivors)))),
                pinned=survivors.pinned,
                resident=managed.planner.resident if managed else tuple(range(len(survivors))),
                block_bytes=block_bytes,
                token_bytes=token_bytes,
                device_bytes=sum(layer.prompt + layer.units for layer in held),
                host_bytes=sum(layer.host for layer in held),
                note=note,
            )
        )

    def _manage(self, stage: Stage, survivors: Survivors, scorer: UnitScorer, block_bytes: int) -> ManagedStage:
        scoring = self._scored_by[stage.index]
        if scoring not in self._queries:
            raise ValueError(f"observe_query was not called for layer {scoring} in prefill.")
        layers = self.layers[stage.first : stage.end]
        if self._pool is None:
            self._pool = HostPool(pinned=layers[0].device.type == "cuda")
        lease = self._pool.lend(len(survivors) * len(layers), block_bytes)
        self._leases.append(lease)
        managed = ManagedStage(stage, survivors, scorer, self._queries[scoring], self.config)
        placed = managed.place(layers, lease, [self._engine(layer.device) for layer in layers])
        self.layers[stage.first : stage.end] = placed
        self._managed[stage.index] = managed
        return managed

    @property
    def _active(self) -> float | int:
        assert self.config.active is not None
        return self.config.active

    def _engine(self, device: torch.device) -> CopyEngine:
        if device not in self._engines:
            self._engines[device] = self._engine_for(device)
        return self._engines[device]

    def _check_device_limit(self) -> None:
        held = sum(layer.device - layer.transit for layer in self.kv_bytes())
        if self._device_limit is not None and held > self._device_limit:
            raise MemoryLimitError(
                f"The KV cache needs {held:,} bytes on the device, but its limit is {self._device_limit:,}: lower "
                "active, prune harder or use a shorter document."
            )

    def _note_costs(self) -> None:
        now = sum((engine.stats() for engine in self._engines.values()), CopyStats())
        cost = now.since(self._known)
        if cost.nbytes or cost.stall_s or cost.transfer_s:
            self._events.append(StepCost(self.step, cost.nbytes, cost.transfer_s, cost.stall_s))
            self._known = now

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("This SlimCache is closed: make a new one for each prompt.")


def _release(engines: dict[torch.device, CopyEngine], leases: list[HostLease]) -> None:
    # Slabs go back only when nothing reads or writes them any more.
    for engine in engines.values():
        with contextlib.suppress(SlimError):
            engine.close()
    for lease in leases:
        lease.release()
