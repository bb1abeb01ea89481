"""StatsD and DogStatsD, item by item (docs/facts/beam.md §1.9, S1-S39), each against a real socket."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from ipaddress import IPv6Address
from itertools import pairwise

import pytest
from tests.metrics.reporters.receiver import Receiver

from tinkertape.bus import Bus
from tinkertape.errors import MetricError
from tinkertape.metrics import StatsDReporter, counter, distribution, last_value, sum_, summary
from tinkertape.metrics.statsd.losses import Losses
from tinkertape.metrics.statsd.transport import Destination, Transport

KINDS = [counter, sum_, last_value, summary, distribution]
SILENT = 3_600.0  # seconds: only `flush` sends
item = pytest.mark.conformance


@contextmanager
def reporting(metrics, bus, **options):
    """A reporter and the socket that it sends to."""
    with (
        Receiver() as receiver,
        StatsDReporter(metrics, bus=bus, **{"port": receiver.port, "period_s": SILENT, **options}) as reporter,
    ):
        yield reporter, receiver


def packets(metrics, *events, formatter="standard", **options):
    """The datagrams, as text, that these events of `a.b` make in one flush: measurements, or also metadata."""
    bus = Bus()
    with reporting(metrics, bus, formatter=formatter, **options) as (reporter, receiver):
        for event in events:
            bus.execute("a.b", *(event if isinstance(event, tuple) else (event,)))
        assert reporter.flush(10)
        return [packet.decode() for packet in receiver.read()]


def lines(metrics, *events, **options):
    return [line for packet in packets(metrics, *events, **options) for line in packet.split("\n")]


def only(metric, *values, **options):
    """The one line that these values of one metric make."""
    [packet] = packets([metric("a.b.c")], *({"c": value} for value in values), **options)
    return packet


# --- mapping ---


@item("S1", differs="a negative last value is set to 0 first (S6)")
@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (counter, 5, "a.b.c:1|c"),
        (sum_, 21, "a.b.c:+21|g"),
        (sum_, -21, "a.b.c:-21|g"),
        (sum_, 0, "a.b.c:+0|g"),
        (last_value, 18, "a.b.c:18|g"),
        (summary, 121, "a.b.c:121|ms"),
        (distribution, 121, "a.b.c:121|ms"),
    ],
)
def test_S1_each_kind_has_its_type_in_the_standard_dialect(metric, value, text):
    assert only(metric, value) == text


@item("S2")
@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (counter, 5, "a.b.c:1|c"),
        (sum_, 21, "a.b.c:21|c"),
        (sum_, -21, "a.b.c:-21|c"),
        (last_value, -18, "a.b.c:-18|g"),
        (summary, 121, "a.b.c:121|h"),
        (distribution, 131, "a.b.c:131|d"),
    ],
)
def test_S2_each_kind_has_its_type_in_datadogs_dialect(metric, value, text):
    assert only(metric, value, formatter="datadog") == text


@item("S3", beat="what a counter cannot take is counted, by reason, and said once in the log")
def test_S3_a_sum_may_be_reported_as_a_counter_which_takes_no_negative_value(caplog):
    metric = sum_("a.b.c", reporter_options={"report_as": "counter"})
    bus = Bus()
    with caplog.at_level(logging.WARNING), reporting([metric], bus) as (reporter, receiver):
        for value in (21, -21, -3):
            bus.execute("a.b", {"c": value})
        assert reporter.flush(10)

        assert receiver.read() == [b"a.b.c:21|c"]
        assert reporter.skipped() == {("a.b.c", "error"): 2}
    assert len([record for record in caplog.records if "a.b.c" in record.getMessage()]) == 1
    assert packets([metric], {"c": -3}, formatter="datadog") == ["a.b.c:-3|c"]


@item("S4", differs="nothing is rounded: a duration of 0.4 ms arrives as 0.4; StatsD's own daemon takes decimals")
@pytest.mark.parametrize("metric", [summary, distribution, last_value])
@pytest.mark.parametrize("value", [131.4, 131.5, 0.5, 2.5, 0.4])
def test_S4_a_fraction_arrives_in_the_standard_dialect_too(metric, value):
    assert only(metric, value).startswith(f"a.b.c:{value}|")


@item("S5", beat="no number has an exponent, which not every daemon reads")
@pytest.mark.parametrize(
    ("value", "text"),
    [(131.4, "131.4"), (131.5, "131.5"), (1.0, "1.0"), (1e-7, "0.0000001"), (1e21, "1000000000000000000000")],
)
def test_S5_datadog_keeps_floats(value, text):
    assert only(distribution, value, formatter="datadog") == f"a.b.c:{text}|d"


@item("S6", beat="a sum always has its sign; a negative last value sets the gauge to 0 first, in the same packet")
def test_S6_a_sum_never_sets_a_gauge_and_a_last_value_always_does():
    assert only(sum_, -0.4) == "a.b.c:-0.4|g"
    assert only(sum_, 0.0) == "a.b.c:+0|g"
    assert only(last_value, -18) == "a.b.c:0|g\na.b.c:-18|g"
    assert only(last_value, -0.0) == "a.b.c:0.0|g"


@item("S6")
def test_S6_the_two_lines_of_a_negative_gauge_are_never_in_two_packets():
    metrics = [counter("a.b.first"), last_value("a.b.c")]

    assert packets(metrics, {"c": -18}, mtu=22) == ["a.b.first:1|c", "a.b.c:0|g\na.b.c:-18|g"]


@item("S7")
@pytest.mark.parametrize("formatter", ["standard", "datadog"])
def test_S7_a_counter_counts_events_whatever_they_measure(formatter):
    assert packets([counter("a.b.c")], {"c": 17}, {"c": "x"}, {}, formatter=formatter) == ["a.b.c:3|c"]


@item("S8", differs="a name is made of what every daemon takes")
def test_S8_the_name_is_the_segments_joined_by_dots_and_buckets_are_not_used():
    metrics = [distribution(["my", "app-1", "é:x|y"], event_name="a.b", measurement="c", buckets=[1, 2])]

    assert packets(metrics, {"c": 3}) == ["my.app-1.__x_y:3|ms"]
    assert packets([counter("_sc.x", event_name="a.b")], {}, formatter="datadog") == ["sc.x:1|c"]


# --- tags ---


@item("S9", differs="a value is one segment, whatever is in it, and never an empty one")
def test_S9_in_the_standard_dialect_values_of_tags_are_segments_in_the_order_of_tags():
    metric = last_value("my.awesome.metric", event_name="a.b", tags=["method", "status"])

    assert packets([metric], ({"metric": 131}, {"status": 200, "method": "GET"})) == ["my.awesome.metric.GET.200:131|g"]
    assert packets([metric], ({"metric": 1}, {"status": 1.5, "method": ""})) == ["my.awesome.metric._.1_5:1|g"]


@item("S10")
def test_S10_datadogs_tags_come_after_value_and_rate_in_the_order_of_tags():
    metric = summary("a.b.c", tags=["a", "b"], reporter_options={"sampling_rate": 0.999_999_999_999})

    assert packets([metric], ({"c": -3}, {"b": "c", "a": 1}), formatter="datadog") == [
        "a.b.c:-3|h|@0.999999999999|#a:1,b:c"
    ]


@item("S11", differs="None is the empty text, as to every reporter; a segment is never empty")
def test_S11_a_tag_that_is_none_is_sent():
    metric = counter("a.b.c", tags=["status"])

    assert packets([metric], ({}, {"status": None}), formatter="datadog") == ["a.b.c:1|c|#status:"]
    assert packets([metric], ({}, {"status": None})) == ["a.b.c._:1|c"]


@item("S12", beat="an event without a listed tag is skipped in both dialects, and counted")
@pytest.mark.parametrize("formatter", ["standard", "datadog"])
def test_S12_an_event_without_a_listed_tag_is_not_sent(formatter):
    bus = Bus()
    with reporting([counter("a.b.c", tags=["status"])], bus, formatter=formatter) as (reporter, receiver):
        bus.execute("a.b", {}, {"other": 1})
        assert reporter.flush(10)

        assert receiver.read() == []
        assert reporter.skipped() == {("a.b.c", "missing_tag"): 1}


@item("S13", beat="what is not sent leaves no empty line, no bare prefix and no empty datagram")
@pytest.mark.parametrize("prefix", ["", "px"])
def test_S13_what_is_not_sent_leaves_nothing(prefix):
    metrics = [counter("a.b.first", tags=["x"]), counter("a.b.second")]
    dot = f"{prefix}." if prefix else ""

    assert packets(metrics, ({}, {}), prefix=prefix) == [f"{dot}a.b.second:1|c"]
    assert packets(metrics[:1], ({}, {}), prefix=prefix) == []


@item("S14", beat="any value of a tag is text, in both dialects, and a value whose text cannot be had is counted")
@pytest.mark.parametrize("formatter", ["standard", "datadog"])
@pytest.mark.parametrize("value", [{"a": 1}, (1, 2), [object], b"x", 1j])
def test_S14_a_tag_of_any_type_is_sent(formatter, value):
    [packet] = packets([counter("a.b.c", tags=["x"])], ({}, {"x": value}), formatter=formatter)

    assert packet.startswith("a.b.c")


@item("S14")
@pytest.mark.parametrize("formatter", ["standard", "datadog"])
def test_S14_a_tag_without_text_silences_nothing(formatter, caplog):
    class Unspeakable:
        def __str__(self):
            raise RuntimeError

    caplog.set_level(logging.CRITICAL, logger="tinkertape")
    metrics = [counter("a.b.c", tags=["x"]), counter("a.b.d")]
    events = [({}, {"x": Unspeakable()}), ({}, {"x": "y"})]

    assert len(lines(metrics, *events, formatter=formatter)) == 2


@item("S15", beat="nothing that ends a tag, a field or a line comes through, in either dialect")
@pytest.mark.parametrize(
    ("formatter", "text"), [("standard", "a.b.c.x_y__z_1_q:1|c"), ("datadog", "a.b.c:1|c|#tag:x_y__z:1_q")]
)
def test_S15_a_tag_injects_nothing(formatter, text):
    assert packets([counter("a.b.c", tags=["tag"])], ({}, {"tag": "x,y|#z:1\nq"}), formatter=formatter) == [text]


@item("S16")
def test_S16_global_tags_are_sent_where_a_metric_lists_them():
    metrics = [counter("a.b.first", tags=["env"]), counter("a.b.second")]
    options = {"formatter": "datadog", "global_tags": {"env": "prod", "other": 1}}

    assert lines(metrics, {}, **options) == ["a.b.first:1|c|#env:prod", "a.b.second:1|c"]


@item("S17")
def test_S17_an_events_metadata_goes_before_a_global_tag():
    metric = counter("a.b.c", tags=["env"])

    assert lines([metric], ({}, {"env": "test"}), global_tags={"env": "prod"}) == ["a.b.c.test:1|c"]


@item("S18")
def test_S18_what_tag_values_says_goes_before_a_global_tag():
    metric = counter("a.b.c", tags=["env", "app"], tag_values=lambda metadata: {"env": "mine"})

    assert lines([metric], {}, global_tags={"env": "prod", "app": "x"}) == ["a.b.c.mine.x:1|c"]


@item("S19", beat="tags may be a function")
def test_S19_tags_may_be_a_function():
    metric = counter("a.b.c", tags=lambda metadata: {"z": metadata["x"], "y": 2})

    assert packets([metric], ({}, {"x": 1}), formatter="datadog") == ["a.b.c:1|c|#y:2,z:1"]
    assert packets([metric], ({}, {"x": 1})) == ["a.b.c.2.1:1|c"]


# --- options ---


@item("S20", differs="raises `MetricError`; a missing or an unknown argument is Python's own TypeError")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formatter": "my_formatter"}, "formatter is 'my_formatter'; use 'standard' or 'datadog'"),
        ({"host": 1}, "host is 1; want a name or an IP address"),
        ({"host": (1, 2)}, r"host is \(1, 2\); want a name or an IP address"),
        ({"socket_path": 1}, "socket_path is 1; want the path"),
        ({"socket_path": "x" * 200}, "too long"),
        ({"port": -1}, "port is -1; want a number from 1 to 65535"),
        ({"family": "inet"}, "family is 'inet'; want 'ipv4', 'ipv6'"),
        ({"host": "::1", "family": "ipv4"}, "host '::1' is no address of the family 'ipv4'"),
        ({"mtu": 0}, "mtu is 0; want bytes"),
        ({"prefix": 1}, "prefix is 1; want a text"),
        ({"global_tags": ["env"]}, "global_tags are"),
        ({"period_s": 0}, "period_s is 0"),
        ({"resolve_period_s": -1}, "resolve_period_s is -1"),
        ({"buffer_max": 0}, "buffer_max is 0"),
    ],
)
def test_S20_what_cannot_be_used_is_refused_before_anything_changes(options, message):
    bus = Bus()
    with pytest.raises(MetricError, match=message):
        StatsDReporter([counter("a.b.c")], bus=bus, **options)

    assert bus.list_handlers() == []


@item("S20")
def test_S20_an_unknown_option_and_missing_metrics_are_refused():
    with pytest.raises(TypeError, match="foo"):
        StatsDReporter([counter("a.b.c")], foo=1)
    with pytest.raises(TypeError, match="metrics"):
        StatsDReporter()


@item("S21", differs="an mtu of 1 432, an Ethernet frame; 8 192 to a Unix socket; a name is looked up each minute")
def test_S21_the_defaults_are_the_usual_ones():
    defaults = StatsDReporter.__init__.__kwdefaults__

    assert (defaults["host"], defaults["port"], defaults["formatter"]) == ("127.0.0.1", 8125, "standard")
    assert (defaults["global_tags"], defaults["prefix"], defaults["mtu"]) == (None, "", None)
    assert (defaults["family"], defaults["resolve_period_s"]) == (None, 60.0)


@item("S22")
@pytest.mark.parametrize("formatter", ["standard", "datadog"])
@pytest.mark.parametrize("prefix", ["my_app", "my_app."])
def test_S22_the_prefix_stands_before_every_name(formatter, prefix):
    found = lines([kind(f"a.b.{kind.__name__}", measurement="c") for kind in KINDS], {"c": 1}, formatter=formatter,
                  prefix=prefix)  # fmt: skip

    assert [line.partition(":")[0] for line in found] == [f"my_app.a.b.{kind.__name__}" for kind in KINDS]


@item("S23", beat="both may look at the measurements, too")
@pytest.mark.parametrize("kind", KINDS)
def test_S23_keep_and_drop_are_honoured(kind):
    kept = kind("a.b.c", keep=lambda metadata: metadata["x"] == 1)
    not_dropped = kind("a.b.c", drop=lambda metadata, measured: measured["c"] > 1)
    events = [({"c": 1}, {"x": 1}), ({"c": 2}, {"x": 2})]

    assert lines([kept], *events) == lines([not_dropped], *events) == lines([kind("a.b.c")], events[0])


@item("S24")
@pytest.mark.parametrize("kind", KINDS[1:])
def test_S24_a_measurement_may_be_a_function_of_one_or_two(kind):
    one = kind("a.b.c", measurement=lambda measured: measured["x"] * 2)
    two = kind("a.b.d", measurement=lambda measured, metadata: measured["x"] + metadata["y"])

    first, second = lines([one, two], ({"x": 10}, {"y": 7}))
    assert "20|" in first and "17|" in second


@item("S25", beat="what is skipped is also counted, by reason")
@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(("measured", "reason"), [({"c": "x"}, "not_a_number"), ({}, "missing_measurement")])
def test_S25_what_is_no_number_or_missing_is_not_sent_and_the_next_is(kind, measured, reason):
    bus = Bus()
    with reporting([kind("a.b.c")], bus) as (reporter, receiver):
        bus.execute("a.b", measured)
        bus.execute("a.b", {"c": 5})
        assert reporter.flush(10)

        [packet] = receiver.read()
        assert b"5|" in packet and b"\n" not in packet
        assert reporter.skipped() == {("a.b.c", reason): 1}


@item("S26", beat="a counter is added up here and arrives exact; a rate that is none is refused, and so is a gauge's")
@pytest.mark.parametrize("formatter", ["standard", "datadog"])
def test_S26_a_sampled_value_says_its_rate(formatter):
    half, all_ = {"sampling_rate": 0.5}, {"sampling_rate": 1.0}
    metrics = [summary("a.b.half", measurement="c", reporter_options=half)]
    found = lines(metrics, *({"c": 1} for _ in range(400)), formatter=formatter, packed_values=False)

    assert 100 < len(found) < 300
    assert {line.partition("|")[2] for line in found} in ({"ms|@0.5"}, {"h|@0.5"})
    assert "@" not in only(lambda name: summary(name, reporter_options=all_), 1, formatter=formatter)
    exact = counter("a.b.c", reporter_options=half)
    assert lines([exact], *[{}] * 400, formatter=formatter) == ["a.b.c:400|c"]


@item("S26")
@pytest.mark.parametrize("rate", [0.0, 2.0, -1, True, "1", float("nan")])
def test_S26_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(MetricError, match="sampling_rate of"):
        summary("a.b.c", reporter_options={"sampling_rate": rate})


@item("S26")
@pytest.mark.parametrize("kind", [last_value, sum_])
def test_S26_a_gauge_cannot_be_sampled(kind):
    with pytest.raises(MetricError, match="a gauge, which cannot be sampled"):
        StatsDReporter([kind("a.b.c", reporter_options={"sampling_rate": 0.1})], bus=Bus())


# --- packets and transport ---


@item("S27")
def test_S27_metrics_are_joined_by_newlines_in_the_order_of_the_definitions():
    metrics = [summary("a.b.z", measurement="c"), counter("a.b.c"), last_value("a.b.y", measurement="c")]

    assert packets(metrics, {"c": 3}) == ["a.b.z:3|ms\na.b.c:1|c\na.b.y:3|g"]


@item("S28")
def test_S28_what_is_more_than_the_mtu_goes_into_the_next_datagram():
    metrics = [counter(f"{name}.counter", event_name="a.b") for name in ("first", "second", "third", "fourth")]

    assert packets(metrics, {}, mtu=40) == [
        "first.counter:1|c\nsecond.counter:1|c",
        "third.counter:1|c\nfourth.counter:1|c",
    ]


@item("S29")
def test_S29_packets_are_as_full_as_can_be():
    metrics = [counter(f"m{number:02}.c", event_name="a.b") for number in range(40)]
    found = packets(metrics, {}, mtu=50)

    assert "\n".join(found).split("\n") == [f"m{number:02}.c:1|c" for number in range(40)]
    assert all(len(packet) <= 50 for packet in found)
    assert all(len(packet) + 1 + len(following.split("\n")[0]) > 50 for packet, following in pairwise(found))


@item("S30", beat="a line longer than the mtu is dropped and counted; everything else goes on")
def test_S30_a_line_longer_than_the_mtu_silences_nothing(caplog):
    caplog.set_level(logging.CRITICAL, logger="tinkertape")
    bus = Bus()
    metrics = [counter("a.b.much_longer_than_that"), counter("a.b.c")]
    with reporting(metrics, bus, mtu=15) as (reporter, receiver):
        for _ in range(2):
            bus.execute("a.b", {})
            assert reporter.flush(10)

        assert receiver.read() == [b"a.b.c:1|c", b"a.b.c:1|c"]
        assert reporter.ledger().dropped == {"too_long": 2}


@item("S31", beat="events are packed together, and sent by a thread of the reporter's own")
def test_S31_many_events_are_one_datagram():
    metrics = [counter("a.b.count"), summary("a.b.c")]

    [packet] = packets(metrics, *({"c": number} for number in range(50)))
    assert packet.split("\n") == ["a.b.count:50|c", *(f"a.b.c:{number}|ms" for number in range(50))]
    [packet] = packets(metrics[1:], *({"c": number} for number in range(5)), formatter="datadog")
    assert packet == "a.b.c:0:1:2:3:4|h"


@item("S32", beat="while nobody is there nothing is lost that there is room for; it arrives when somebody is")
def test_S32_a_unix_socket_is_sent_to_and_may_come_later(tmp_path):
    bus, path = Bus(), tmp_path / "statsd.sock"
    with StatsDReporter([counter("a.b.c")], bus=bus, socket_path=path, host="nobody.invalid") as reporter:
        bus.execute("a.b", {})
        assert not reporter.flush(10)
        with Receiver(path=path) as receiver:
            bus.execute("a.b", {})
            assert reporter.flush(10)

            assert receiver.read() == [b"a.b.c:2|c"]


@item("S33", beat="one thread sends by one socket: nobody waits for it, and there is no pool to choose the size of")
def test_S33_all_is_sent_from_one_socket():
    bus = Bus()
    with reporting([counter("a.b.c")], bus) as (reporter, receiver):
        senders = set()
        for _ in range(50):
            bus.execute("a.b", {})
            assert reporter.flush(10)
            senders.add(receiver.socket.recvfrom(100)[1])

    assert len(senders) == 1


@item("S34", beat="what could not be sent is kept, and sent by the new socket; it never stops")
def test_S34_a_broken_socket_is_replaced_and_said_once(tmp_path, caplog):
    bus, path = Bus(), tmp_path / "statsd.sock"
    with StatsDReporter([counter("a.b.c")], bus=bus, socket_path=path, period_s=SILENT) as reporter:
        for round_ in range(3):
            bus.execute("a.b", {})
            assert not reporter.flush(10)
            with Receiver(path=path) as receiver:
                assert reporter.flush(10)
                assert receiver.read() == [b"a.b.c:1|c"]
            if round_ < 2:
                bus.execute("a.b", {})
                assert not reporter.flush(10)
            path.unlink()
            with Receiver(path=path) as receiver:
                assert reporter.flush(10)
                assert receiver.read() == ([b"a.b.c:1|c"] if round_ < 2 else [])
            path.unlink()
        assert reporter.ledger().dropped == {}

    said = [record.getMessage() for record in caplog.records if "cannot send to" in record.getMessage()]
    assert len(said) == len(set(said)) <= 2  # absent, and refused


def looked_up(*answers):
    """A look-up that gives these answers one after the other; an exception is raised."""
    left = list(answers)

    def look_up(destination):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, (host, destination.port)) for host in answer]

    return look_up


@item("S35")
def test_S35_a_name_is_looked_up_once_unless_an_interval_is_given():
    transport = Transport(Destination("statsd.test"), Losses(), look_up=looked_up(["127.0.0.1"]))
    for _ in range(3):
        assert transport.ready()
    transport.close()

    assert transport.address == ("127.0.0.1", 8125)


@item("S35", beat="an address of either family, or of the one asked for; by default each minute")
def test_S35_the_address_moves_when_it_is_no_longer_in_the_answer_and_a_failure_keeps_it(caplog):
    clock = [0.0]
    answers = [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], OSError("no answer"), ["127.0.0.3", "127.0.0.2"]]
    transport = Transport(
        Destination("statsd.test"),
        Losses(),
        resolve_period_s=60.0,
        look_up=looked_up(*answers),
        monotonic=lambda: clock[0],
    )
    used = []
    for _ in answers:
        assert transport.ready()
        used.append(transport.address[0])
        clock[0] += 61
    transport.close()

    assert used == ["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.3"]
    assert [record.levelname for record in caplog.records if "cannot look up 'statsd.test'" in record.getMessage()] == [
        "WARNING"
    ]


@item("S35")
def test_S35_a_real_name_is_looked_up():
    bus = Bus()
    with reporting([counter("a.b.c")], bus, host="localhost", family="ipv4") as (reporter, receiver):
        bus.execute("a.b", {})

        assert reporter.flush(10)
        assert receiver.read() == [b"a.b.c:1|c"]


@item("S36")
@pytest.mark.parametrize("options", [{"host": "::1"}, {"host": IPv6Address("::1"), "family": "ipv6"}])
def test_S36_ipv6_end_to_end(options):
    bus = Bus()
    with (
        Receiver(host="::1") as receiver,
        StatsDReporter([counter("a.b.c")], bus=bus, port=receiver.port, period_s=SILENT, **options) as reporter,
    ):
        bus.execute("a.b", {})

        assert reporter.flush(10)
        assert receiver.read() == [b"a.b.c:1|c"]


@item("S37", differs="`close`, the end of a `with` and the end of the program take the place of exit signals")
def test_S37_after_close_nothing_is_attached_and_nothing_sent():
    bus = Bus()
    with reporting([kind("a.b.c") for kind in KINDS], bus) as (reporter, receiver):
        bus.execute("a.b", {"c": 1})
        assert reporter.close()
        assert len(receiver.read()) == 1
        bus.execute("a.b", {"c": 1})

        assert bus.list_handlers() == []
        assert reporter.flush(10) is False
        assert receiver.read() == []


@item("S38")
def test_S38_several_reporters_send_each_its_own():
    bus = Bus()
    with (
        reporting([counter("a.b.c")], bus) as (first, to_first),
        reporting([counter("a.b.c")], bus) as (second, to_second),
    ):
        bus.execute("a.b", {})
        assert first.flush(10) and second.flush(10)

        assert to_first.read() == to_second.read() == [b"a.b.c:1|c"]


@item("S39", beat="each metric is guarded apart: an exception in one takes no other down, and it stays itself")
@pytest.mark.parametrize("kind", [counter, summary])
def test_S39_an_exception_in_one_metric_takes_no_other_down(kind, caplog):
    caplog.set_level(logging.CRITICAL, logger="tinkertape")
    metrics = [kind("a.b.first", measurement="c", keep=lambda metadata: 1 / metadata["x"]), kind("a.b.c")]

    assert len(lines(metrics, ({"c": 1}, {"x": 0}), ({"c": 1}, {"x": 1}))) == (2 if kind is counter else 3)
