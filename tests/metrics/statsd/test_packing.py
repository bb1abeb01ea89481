"""Packets are at most as long as the MTU, as full as can be, in the order of the lines, and nothing is lost unseen."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.metrics.statsd.lines import Line
from tinkertape.metrics.statsd.packing import Packet, pack

LINES = st.lists(st.builds(Line, st.binary(min_size=1, max_size=30).map(bytes.hex).map(str.encode), st.integers(1, 9)))


@given(LINES, st.integers(1, 100))
def test_packets_hold_the_laws(lines, mtu):
    too_long = []

    packets = list(pack(lines, mtu, too_long.append))

    fitting = [line for line in lines if len(line.text) <= mtu]
    assert too_long == [line for line in lines if len(line.text) > mtu]
    assert b"\n".join(packet.text for packet in packets) == b"\n".join(line.text for line in fitting)
    assert all(0 < len(packet.text) <= mtu for packet in packets)
    assert sum(packet.values for packet in packets) == sum(line.values for line in fitting)
    for packet, following in pairwise(packets):
        assert len(packet.text) + 1 + len(following.text.split(b"\n")[0]) > mtu


@pytest.mark.parametrize(
    ("mtu", "packets"),
    [(9, [b"aaaa\nbbbb", b"cccc"]), (8, [b"aaaa", b"bbbb", b"cccc"]), (14, [b"aaaa\nbbbb\ncccc"]), (3, [])],
)
def test_a_newline_counts_too(mtu, packets):
    lines = [Line(b"aaaa"), Line(b"bbbb"), Line(b"cccc")]

    assert [packet.text for packet in pack(lines, mtu, lambda line: None)] == packets


def test_two_lines_that_belong_together_stay_together():
    lines = [Line(b"a" * 10), Line(b"g:0|g\ng:-1|g")]

    assert list(pack(lines, 15, lambda line: None)) == [Packet(b"a" * 10, 1), Packet(b"g:0|g\ng:-1|g", 1)]
