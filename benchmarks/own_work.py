"""Counts what of ours runs in a program, which does not depend on how busy the machine is: Python functions called,
bytecodes executed, C functions called (clocks among them), by thread. To be started before the threads to be counted.

It slows the program down by a multiple. What we do only where something lasts is therefore put off while it counts:
busy runs of loops, the kernel's count of waits. What our threads do by the second is to be read by the second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import CodeType, FrameType
from typing import Any

CLOCKS = frozenset({"perf_counter_ns", "time_ns", "thread_time_ns", "monotonic"})
_counts: Counter[tuple[str, str, str]] = Counter()  # (thread, kind, what)
_ours: dict[CodeType, str | None] = {}
_is_on = False


def watch() -> None:
    """Count in this thread, and in each that is started from now on, whenever `count` says so."""
    for put_on in (sys.settrace, threading.settrace):
        put_on(_called)
    for put_on in (sys.setprofile, threading.setprofile):
        put_on(_profiled)


def put_off() -> None:
    """Nothing is done because something lasts."""
    from tinkertape.instrument.tinker import loop, starvation  # noqa: PLC0415  after whoever watches their imports

    never_ns = 1 << 62
    loop.BUSY_MIN_NS = starvation._BEGIN_AGE_NS = starvation._SHORT_NS = never_ns


def begin() -> None:
    """Count from now on."""
    global _is_on
    put_off()
    _is_on = True


def take() -> dict[str, dict[str, dict[str, int]]]:
    """Count no more. By thread and kind ("python", "bytecodes", "c"): how often, by function."""
    global _is_on
    _is_on = False
    time.sleep(0.01)  # a thread that has looked at it before counts once more
    taken: dict[str, dict[str, dict[str, int]]] = {}
    for (thread, kind, what), often in list(_counts.items()):
        taken.setdefault(thread, {}).setdefault(kind, {})[what] = often
    _counts.clear()
    return taken


def _name_of(code: CodeType) -> str | None:
    """None: it is not ours."""
    if code not in _ours:
        path = code.co_filename
        ours = "/tinkertape/" in path or path.startswith("<tinkertape")
        _ours[code] = f"{path.rpartition('/')[2].removesuffix('.py')}.{code.co_qualname}" if ours else None
    return _ours[code]


def _thread() -> str:
    return threading.current_thread().name.partition(" (")[0]


def _called(frame: FrameType, event: str, argument: Any) -> Any:
    if not _is_on:
        return None
    name = _name_of(frame.f_code)
    if name is None:
        return None
    frame.f_trace_lines, frame.f_trace_opcodes = False, True
    thread = _thread()
    _counts[thread, "python", name] += 1

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            _counts[thread, "bytecodes", name] += 1
        return traced

    return traced


def _profiled(frame: FrameType, event: str, argument: Any) -> None:
    if event == "c_call" and _is_on and _name_of(frame.f_code) is not None:
        _counts[_thread(), "c", getattr(argument, "__name__", "?")] += 1
