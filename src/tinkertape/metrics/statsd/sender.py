"""The thread that sends: takes what is new each `period_s`, packs it and hands it to the transport.

While there is nobody to send to, nothing is taken: counters and sums go on adding up, and single values wait in their
bounded buffer. So a daemon that is started late, or again, misses nothing that there was room for.

Threads  "tinkertape-statsd" does all of it, from the first event on; `wake` and `flush` run in any. What starts it is a
         thread, too, of a moment: no event waits until it runs. Where several start at once, one stays (`_running`).
Locks    none that a thread that sends would wait for is held by one that takes up events or flushes: a signal's handler
         may flush wherever it comes. What is wanted comes through `_wanted`, whose `put` is made for that. `_turning`:
         one turn at a time; taken by that thread, for the ledger, and by a caller where no thread is to be had any
         more. It is waited for COUNTING_S at most.
Fork     `start_over`: new locks, nothing waits, no thread; the next event starts one.
Exit     `close` takes `timeout_s` and COUNTING_S at the most; what is then unsent is lost, and counted with the reason
         "exit".
"""

from __future__ import annotations

import contextlib
import threading
import time
from _thread import LockType, start_new_thread
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from tinkertape.guard import guarded
from tinkertape.metrics.statsd.lines import Line
from tinkertape.metrics.statsd.losses import Losses
from tinkertape.metrics.statsd.packing import Packet, pack
from tinkertape.metrics.statsd.transport import Transport
from tinkertape.metrics.turn import Turn

PACKETS_AT_ONCE, PAUSE_S = 16, 0.001  # a burst over UDP that fits the usual socket of a daemon
REST = 50  # times as long as a turn took: at most 2 % of a processor
BUSY_MAX_S = 1.0  # how long a turn stays with a receiver that is behind
COUNTING_S = 0.2  # longer than a turn takes to see that it should stop


class Sender:
    """Sends what `take(everything)` gives; `everything` is False when only single values are due.

    It gives the lines, and whether they are all that was wanted: what cannot be had at the moment comes later.
    """

    def __init__(
        self,
        take: Callable[[bool], tuple[Iterable[Line], bool]],
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
        self._turning = Turn()
        self._running = threading.Lock()  # held by the thread as long as it lives
        self._is_started = False
        self._wanted: SimpleQueue[SimpleQueue[bool] | None] = SimpleQueue()  # where to answer a `flush`; a `wake`
        self._woken = False  # a `wake` is on its way
        self._has_begun = False  # before the first event there is nothing to send
        self._is_stuck = False  # the last turn left something: the next one comes when it is due, or asked for
        self._waiting: deque[Packet] = deque()
        self._sent = 0
        self._transport.start_over()

    def start(self) -> bool:
        """See to it that the thread runs soon. Never waits. False: there is none to be had, or it has ended."""
        self._has_begun = True
        if not self._is_started and not self._closed:
            try:
                start_new_thread(self._start_thread, (self._running,))
            except RuntimeError:  # out of memory, or the interpreter is closing: `close` sends
                return False
            self._is_started = True
        return not self._closed

    def wake(self) -> None:
        """Single values are due. Cheap where it has been said already, or nobody is there to send to."""
        if not self._is_stuck and not self._woken:
            self._woken = True
            self._wanted.put(None)

    def flush(self, timeout_s: float) -> bool:
        """Send all that there is now; whether the system took it, in `timeout_s` at the most.

        False at once in a signal's handler that interrupted what no turn can do without.
        """
        if not self._has_begun:
            return True
        if self._closed or self._turning.is_mine():
            return False
        if not self.start():
            return self._turn(everything=True, may_block=False)
        answer: SimpleQueue[bool] = SimpleQueue()
        self._wanted.put(answer)
        try:
            return answer.get(timeout=max(0.0, timeout_s))
        except Empty:
            return False

    def close(self, timeout_s: float) -> bool:
        """Send what is left, and end the thread; whether the system took it all. Closing twice is closing once."""
        if self._closed:
            return True
        deadline_s = time.monotonic() + timeout_s
        delivered = self.flush(timeout_s)
        self._closed = True
        self._wanted.put(None)
        if self._running.acquire(timeout=max(0.0, deadline_s - time.monotonic())):  # and no other will ever run
            self._transport.close()
        with self._turning.if_free(COUNTING_S):
            left = sum(packet.values for packet in self._waiting) + sum(line.values for line in self._take(True)[0])
            self._waiting.clear()
        if left:
            self._losses.count("exit", left, f"values left unsent at the end: {left}")
        return delivered

    def ledger(self) -> tuple[int, int]:
        """How many values the system took, and how many wait in packets.

        Between two turns; or within one that takes too long, and its packets are counted as they stand.
        """
        with self._turning.if_free(COUNTING_S):
            return self._sent, sum(packet.values for packet in self._waiting.copy())

    # --- the thread ---

    def _start_thread(self, running: LockType) -> None:
        """In a thread of its own, for no other can wait for a thread to start where a handler interrupted it."""
        if not running.acquire(blocking=False):
            return  # another one was quicker
        try:
            threading.Thread(target=self._run, args=(running,), name="tinkertape-statsd", daemon=True).start()
        except RuntimeError:  # this one is the last to be had
            self._run(running)

    def _run(self, running: LockType) -> None:
        try:
            self._send_loop()
        finally:
            running.release()

    def _send_loop(self) -> None:
        due_s = time.monotonic() + self._period_s
        while True:
            answers = self._wait(max(0.0, due_s - time.monotonic()))
            if self._closed:
                break
            began_s = time.monotonic()
            everything = bool(answers) or began_s >= due_s
            delivered = False
            with guarded("metrics.statsd"):
                delivered = self._turn(everything)
            self._is_stuck = not delivered
            if everything:
                ended_s = time.monotonic()
                due_s = ended_s + max(self._period_s, REST * (ended_s - began_s))
            for answer in answers:
                answer.put(delivered)
        for answer in answers:
            answer.put(False)
        self._transport.close()

    def _wait(self, wait_s: float) -> list[SimpleQueue[bool]]:
        """Wait until something is wanted, so long at most; who wants an answer."""
        answers: list[SimpleQueue[bool]] = []
        with contextlib.suppress(Empty):
            wanted = self._wanted.get(timeout=wait_s)
            while True:
                if wanted is None:
                    self._woken = False
                else:
                    answers.append(wanted)
                wanted = self._wanted.get_nowait()
        return answers

    def _turn(self, everything: bool, *, may_block: bool = True) -> bool:
        """Send what is left from the turn before, then what is new; whether nothing is left."""
        if not self._transport.ready(may_block=may_block):
            return False
        with self._turning.if_free(COUNTING_S if may_block else 0.0) as is_free:
            if not is_free or not self._send_waiting() or self._closed:
                return False
            lines, is_all = self._take(everything)
            self._waiting.extend(pack(lines, self._mtu, self._too_long))
            return self._send_waiting() and is_all

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
