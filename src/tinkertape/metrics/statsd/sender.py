"""The thread that sends: takes what is new each `period_s`, packs it and hands it to the transport.

While there is nobody to send to, nothing is taken: counters and sums go on adding up, and single values wait in their
bounded buffer. So a daemon that is started late, or again, misses nothing that there was room for.

Threads  "tinkertape-statsd" does all of it, from the first event on; `wake` and `flush` run in any.
Locks    `_turning`: one turn at a time; taken by that thread, for the ledger, and by a caller where no thread is to be
         had any more; nobody else waits for it, nor longer than COUNTING_S. `_starting`: to start the thread; whoever
         does not get it at once goes on, as a signal's handler must. `_changed`: held to say or see what is wanted,
         never while anything is done; a signal's handler may take it again.
Fork     `start_over`: new locks, nothing waits, no thread; the next event starts one.
Exit     `close` takes `timeout_s` and COUNTING_S at the most; what is then unsent is lost, and counted with the reason
         "exit".
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from tinkertape.guard import guarded
from tinkertape.metrics.statsd.lines import Line
from tinkertape.metrics.statsd.losses import Losses
from tinkertape.metrics.statsd.packing import Packet, pack
from tinkertape.metrics.statsd.transport import Transport

PACKETS_AT_ONCE, PAUSE_S = 16, 0.001  # a burst over UDP that fits the usual socket of a daemon
REST = 50  # times as long as a turn took: at most 2 % of a processor
BUSY_MAX_S = 1.0  # how long a turn stays with a receiver that is behind
COUNTING_S = 0.2  # longer than a turn takes to see that it should stop


class Sender:
    """Sends what `take(everything)` gives; `everything` is False when only single values are due."""

    def __init__(
        self,
        take: Callable[[bool], Iterable[Line]],
        transport: Transport,
        losses: Losses,
        *,
        mtu: int,
        period_s: float,
    ) -> None:
        self._take, self._transport, self._losses = take, transport, losses
        self._mtu, self._period_s = mtu, period_s
        self._closed = False
        self.start_over()

    def start_over(self) -> None:
        """As at the beginning; in a forked child, where the thread is not."""
        self._turning = threading.Lock()
        self._starting = threading.Lock()
        self._changed = threading.Condition()
        self._woken = False
        self._thread: threading.Thread | None = None
        self._asked = self._answered = 0
        self._delivered = False
        self._has_begun = False  # before the first event there is nothing to send
        self._is_stuck = False  # the last turn left something: the next one comes when it is due, or asked for
        self._waiting: deque[Packet] = deque()
        self._sent = 0
        self._transport.start_over()

    def start(self) -> bool:
        """See to it that the thread runs. Never blocks. False: there is none to be had, or it is closed."""
        self._has_begun = True
        if self._thread is not None:
            return self._thread.is_alive()
        if self._closed or not self._starting.acquire(blocking=False):
            return not self._closed
        try:
            if self._thread is None:  # nobody else was quicker
                thread = threading.Thread(target=self._send_loop, name="tinkertape-statsd", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:  # out of memory, or the interpreter is closing: `close` sends
            return False
        finally:
            self._starting.release()
        return True

    def wake(self) -> None:
        """Single values are due. Cheap where it has been said already, or nobody is there to send to."""
        if not self._is_stuck and not self._woken:
            with self._changed:
                self._woken = True
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Send all that there is now; whether the system took it, in `timeout_s` at the most."""
        if not self._has_begun:
            return True
        if not self.start():
            return not self._closed and self._turn(everything=True, may_block=False)
        with self._changed:
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._answered >= ticket, timeout_s) and self._delivered

    def close(self, timeout_s: float) -> bool:
        """Send what is left, and end the thread; whether the system took it all. Closing twice is closing once."""
        if self._closed:
            return True
        deadline_s = time.monotonic() + timeout_s
        delivered = self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        if thread is None or not thread.is_alive():
            self._transport.close()
        with self._counting():
            left = sum(packet.values for packet in self._waiting) + sum(line.values for line in self._take(True))
            self._waiting.clear()
        if left:
            self._losses.count("exit", left, f"values left unsent at the end: {left}")
        return delivered

    def ledger(self) -> tuple[int, int]:
        """How many values the system took, and how many wait in packets."""
        with self._counting():
            return self._sent, sum(packet.values for packet in self._waiting)

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        """Between two turns; or within one that takes too long, and its packets are counted as they stand."""
        acquired = self._turning.acquire(timeout=COUNTING_S)
        try:
            yield
        finally:
            if acquired:
                self._turning.release()

    # --- the thread ---

    def _send_loop(self) -> None:
        due_s = time.monotonic() + self._period_s
        while True:
            with self._changed:
                self._changed.wait_for(self._is_wanted, max(0.0, due_s - time.monotonic()))
                self._woken, asked = False, self._asked
            if self._closed:
                break
            began_s = time.monotonic()
            everything = asked != self._answered or began_s >= due_s
            delivered = False
            with guarded("metrics.statsd"):
                delivered = self._turn(everything)
            self._is_stuck = not delivered
            if everything:
                ended_s = time.monotonic()
                due_s = ended_s + max(self._period_s, REST * (ended_s - began_s))
                with self._changed:
                    self._answered, self._delivered = asked, delivered
                    self._changed.notify_all()
        self._transport.close()

    def _is_wanted(self) -> bool:
        return self._closed or self._woken or self._asked != self._answered

    def _turn(self, everything: bool, *, may_block: bool = True) -> bool:
        """Send what is left from the turn before, then what is new; whether nothing is left."""
        if not self._transport.ready(may_block=may_block) or not self._turning.acquire(blocking=may_block):
            return False
        try:
            if not self._send_waiting() or self._closed:
                return False
            self._waiting.extend(pack(self._take(everything), self._mtu, self._too_long))
            return self._send_waiting()
        finally:
            self._turning.release()

    def _send_waiting(self) -> bool:
        until_s = time.monotonic() + BUSY_MAX_S
        sent = 0
        while self._waiting and not self._closed:
            packet = self._waiting[0]
            outcome = self._transport.send(packet.text)
            if outcome == "later" or (outcome == "busy" and time.monotonic() > until_s):
                return False
            if outcome == "busy":
                continue
            self._waiting.popleft()
            if outcome == "sent":
                self._sent += packet.values
            else:
                what = f"the system does not take a packet of {len(packet.text)} bytes; give a smaller mtu"
                self._losses.count(outcome, packet.values, what)
            sent += 1
            if sent % PACKETS_AT_ONCE == 0 and not self._transport.keeps_pace:
                time.sleep(PAUSE_S)
        return not self._waiting

    def _too_long(self, line: Line) -> None:
        what = f"a line of {len(line.text)} bytes is longer than the mtu, {self._mtu}: {line.text[:40]!r}"
        self._losses.count("too_long", line.values, what)
