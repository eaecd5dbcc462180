"""Doors: what stands at a method of one model while some context is inside `slim`.

Whoever calls the method from inside a block of its own comes to that block's loop; everybody else, other threads and
copies of the model too, comes to what was there before.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import MethodType
from typing import Any

from torch import nn

from sliminfer.errors import ConfigError

# Takes the stock method first, then what the caller gave.
Handler = Callable[..., Any]


class Block:
    """One entered `slim` block: the methods of one model that it answers in place of the model.

    Attributes:
        model: the module that the block is about, by identity.
        open: whether the block is still being executed; a context copied from it may outlive it.
    """

    def __init__(self, model: nn.Module, answers: dict[tuple[int, str], Handler]) -> None:
        self.model = model
        self.answers = answers
        self.open = True


_blocks: ContextVar[tuple[Block, ...]] = ContextVar("slim_blocks", default=())
_doors_lock = threading.Lock()


class Door:
    """In place of `module.name`, for as long as any block is open at it."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self.own: Any = vars(module).get(name)
        self.users = 0
        functools.update_wrapper(self, self.stock)  # transformers reads a method's signature

    @property
    def stock(self) -> Callable[..., Any]:
        """The method as it was before: the instance's own, or its class's."""
        own: Callable[..., Any] = _stock(self.module, self.name) if self.own is None else self.own
        return own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        place = id(self.module), self.name
        for block in reversed(_blocks.get()):
            if block.open and place in block.answers:
                return block.answers[place](self.stock, *args, **kwargs)
        return self.stock(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the model has no door: its method is the stock one, bound to the copy.
        return (_itself, (self.own,)) if self.own is not None else (_stock, (self.module, self.name))


@contextlib.contextmanager
def inside(model: nn.Module, handlers: list[tuple[nn.Module, str, Handler]]) -> Iterator[None]:
    """Within the block, and for this context alone, `handlers` answer for the named methods of their modules.

    Raises:
        ConfigError: this context is inside another block about `model`.
    """
    if any(block.open and block.model is model for block in _blocks.get()):
        raise ConfigError("This model is already inside slim(): leave the outer block first.")
    block = Block(model, {(id(module), name): handler for module, name, handler in handlers})
    places = [(module, name) for module, name, _ in handlers]
    _put_up(places)
    _blocks.set((*_blocks.get(), block))
    try:
        yield
    finally:
        block.open = False
        # By value, not by token: a generator may leave the block in another context than it entered it in.
        _blocks.set(tuple(each for each in _blocks.get() if each is not block))
        _take_down(places)


def _put_up(places: list[tuple[nn.Module, str]]) -> None:
    with _doors_lock:
        for module, name in places:
            door = vars(module).get(name)
            if not isinstance(door, Door):
                door = Door(module, name)
                setattr(module, name, door)
            door.users += 1


def _take_down(places: list[tuple[nn.Module, str]]) -> None:
    with _doors_lock:
        for module, name in places:
            door = vars(module).get(name)
            if not isinstance(door, Door):
                continue  # somebody put something of theirs in its place: that stays
            door.users -= 1
            if door.users:
                continue
            if door.own is None:
                delattr(module, name)
            else:
                setattr(module, name, door.own)


def _stock(module: nn.Module, name: str) -> Callable[..., Any]:
    return MethodType(getattr(type(module), name), module)


def _itself(own: Any) -> Any:
    return own
