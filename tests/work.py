"""Work counted rather than timed: how it grows when an input becomes four times as long."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from sliminfer.errors import SlimError

T = TypeVar("T")
Make = Callable[[int], T]

FOUR_TIMES = 5.0  # steps of the interpreter: exact, so a logarithm's worth above four is all that they may grow
ROUGHLY_FOUR_TIMES = 9.0  # time on the processor: another program's use of its caches shows in it, sixteen would too
UNSEEN_S = 0.05  # below this a quadratic part could not be told from noise


def steps(call: Callable[[], object]) -> int:
    """Instructions of the interpreter that `call` takes, its refusals included."""
    taken = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal taken
        frame.f_trace_opcodes = True
        taken += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with contextlib.suppress(SlimError):
            call()
    finally:
        sys.settrace(before)
    return taken


def processor_s(call: Callable[[], object], tries: int = 3) -> float:
    """Least time on the processor that `call` takes in this thread, which libraries written in C cannot hide."""
    taken = []
    for _ in range(tries):
        started = time.thread_time()
        with contextlib.suppress(SlimError):
            call()
        taken.append(time.thread_time() - started)
    return min(taken)


def assert_near_linear(make: Make[T], use: Callable[[T], object], few: int, many: int) -> None:
    """`use(make(n))` takes work in proportion to n: counted in steps from `few`, on the processor from `many`."""
    use_once(make(few), use)  # what is imported or compiled at the first use is none of the input's work
    small, large = (steps(lambda n=n: use(make(n))) for n in (few, 4 * few))
    assert large <= FOUR_TIMES * small, f"{small} steps became {large} on an input four times as long"
    inputs = make(many), make(4 * many)
    small_s, large_s = (processor_s(lambda given=given: use(given)) for given in inputs)
    assert large_s <= ROUGHLY_FOUR_TIMES * small_s + UNSEEN_S, f"{small_s:.3f} s became {large_s:.3f} s"


def use_once(given: T, use: Callable[[T], object]) -> None:
    """Use it, whatever it says."""
    with contextlib.suppress(SlimError):
        use(given)
