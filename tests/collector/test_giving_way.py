"""What can wait gives way to what is received, and no longer than there is something to give way to."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from tinkertape.collector.giving_way import FURTHER_MAX_S, LOOK_S, YIELD_MAX_S, Receiving


class Moments(threading.Event):
    """A clock that stands still but for who waits for this; and a thread that takes a share of a processor."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.now_s = 100.0
        self.used_s = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0.0
        self.used_s += self.share * (timeout or 0.0)
        return self.is_set()

    def receiving(self, is_receiving: bool = True) -> Receiving:
        return Receiving(lambda: is_receiving, now_s=lambda: self.now_s, used_s=lambda: self.used_s)

    def waited_s(self, receiving: Receiving, took_s: float) -> float:
        before_s = self.now_s
        receiving.give_way(took_s, self)
        return self.now_s - before_s


@pytest.mark.parametrize(
    ("share", "took_s", "waited_s"),
    [(0.1, 0.1, 0.5), (0.1, 60.0, YIELD_MAX_S), (0.9, 0.1, 2.0), (0.9, 60.0, YIELD_MAX_S + FURTHER_MAX_S)],
)
def test_receiving_goes_first_the_more_the_busier_it_is_and_never_for_ever(
    share: float, took_s: float, waited_s: float
) -> None:
    moments = Moments(share)
    receiving = moments.receiving()
    receiving.is_saturated()
    moments.wait(1.0)

    assert moments.waited_s(receiving, took_s) == pytest.approx(waited_s)


def test_who_gives_way_goes_on_when_receiving_is_no_longer_busy() -> None:
    moments = Moments(0.9)
    receiving = moments.receiving()
    receiving.is_saturated()
    moments.wait(1.0)
    assert receiving.is_saturated()
    moments.share = 0.0

    assert moments.waited_s(receiving, 60.0) < YIELD_MAX_S + 2 * LOOK_S


def test_nobody_waits_where_nothing_is_received_or_all_is_to_end() -> None:
    moments = Moments(0.9)
    assert moments.waited_s(moments.receiving(is_receiving=False), 60.0) == 0.0

    moments.set()
    assert moments.waited_s(moments.receiving(), 0.1) == pytest.approx(0.5)  # an event that is set ends that at once


def test_a_thread_is_saturated_by_its_own_processor_time() -> None:
    looks = itertools.count(100.0, LOOK_S)
    receiving = Receiving(lambda: True, now_s=lambda: next(looks))
    assert not receiving.is_saturated()

    receiving.begin()
    receiving.is_saturated()
    until_s = time.thread_time() + LOOK_S / 2
    while time.thread_time() < until_s:
        pass

    assert receiving.is_saturated() or not hasattr(time, "pthread_getcpuclockid")
    assert not receiving.is_saturated()
