"""The drawings' arithmetic: what is drawn adds up to what is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dashboard.fake_source import sick
from tests.dashboard.made_runs import made_run
from tests.dashboard.worlds import long_run

from tinkertape.dashboard.latency_chart import latency, over_time
from tinkertape.dashboard.loss_chart import loss_chart
from tinkertape.dashboard.parts import LOOKS, OVER, with_over
from tinkertape.dashboard.report import Evidence, Finding, Ledger, report_of
from tinkertape.dashboard.run_page import run_page
from tinkertape.dashboard.scale import label_every, log_ticks, ticks, time_ticks
from tinkertape.dashboard.share import share_bar
from tinkertape.dashboard.steps_chart import BARS, steps_chart
from tinkertape.figures import THIN

PARTS = st.dictionaries(
    st.sampled_from([look.part for look in LOOKS if look.part != OVER] + ["queue:other", "new"]),
    st.floats(0, 1e5).filter(lambda value: value == 0 or value > 1e-6),
)


@given(PARTS, st.floats(0, 1e5))
def test_what_is_above_usual_is_taken_out_of_compute_and_nothing_is_lost(parts, over_s):
    assert sum(with_over(parts, over_s).values()) == pytest.approx(sum(parts.values()))


@given(PARTS, st.floats(0, 1e5))
def test_the_share_bar_is_as_long_as_the_run(parts, over_s):
    pieces = share_bar(parts, over_s).pieces

    assert sum(piece.width for piece in pieces) == pytest.approx(100 if sum(parts.values()) > 0 else 0, abs=0.05)
    assert sum(piece.seconds for piece in pieces) == pytest.approx(sum(parts.values()))


def test_the_bracket_stands_over_what_was_lost():
    bar = share_bar({"compute": 80.0, "queue:capacity": 15.0, "idle": 5.0}, 10.0)

    assert bar.lost is not None
    assert (bar.lost.at, bar.lost.width) == (70.0, 25.0)
    assert bar.lost.text == "≈\u202f25.0\u202fs lost to Tinker, 25\u202f% of the run"


def test_without_a_loss_there_is_no_bracket():
    assert share_bar({"compute": 80.0, "idle": 5.0}, 0.0).lost is None


def test_every_pause_is_lost_to_tinker_but_for_your_own_rate_limit():
    parts = {"compute": 10.0, "queue:capacity": 3.0, "queue:rate_limit": 2.0, "queue:unknown": 1.0}

    theirs, own = share_bar(parts, 0.0).lost, share_bar(parts, 0.0, yours={"queue:rate_limit"}).lost

    assert theirs.text.startswith(f"6.0{THIN}s lost to Tinker") and own.text.startswith(f"4.0{THIN}s lost to Tinker")


def test_a_bar_of_a_step_is_as_high_as_its_parts():
    chart = steps_chart(report_of(made_run(steps=10)))

    for bar in chart.bars:
        assert sum(block.height for block in bar.blocks) == pytest.approx(100 - bar.top, abs=1.0)


def test_one_long_step_is_cut_so_that_the_others_can_be_seen():
    chart = steps_chart(report_of(sick()))
    cut = [bar for bar in chart.bars if bar.cut]

    assert [(bar.label, bar.cut_why) for bar in cut] == [("12", "paused ≈\u202f47.0\u202fs")]
    assert all(bar.top < 75 for bar in chart.bars if not bar.step.failed)


def with_walls(walls):
    """A run with these seconds a step, the longest of them in a paused queue."""
    long = max(walls)
    steps = [
        {"step": at + 1, "began_s": 0.0, "wall_s": wall, "parts": {"queue:capacity" if wall == long else "send": wall}}
        for at, wall in enumerate(walls)
    ]
    return report_of({"run": "a", "usual_step_s": 0.2, "wall_s": sum(walls), "steps": steps})


def test_of_two_cut_bars_each_says_its_length_and_only_the_longer_why():
    chart = steps_chart(with_walls([0.2] * 17 + [1.5] + [0.2] * 2 + [2.3] + [0.2] * 9))

    said = [(bar.cut, bar.cut_said, bar.cut_why) for bar in chart.bars if bar.cut]
    assert said == [(f"1.5{THIN}s", True, ""), (f"2.3{THIN}s", True, f"paused 2.3{THIN}s")]


def test_cut_bars_side_by_side_leave_the_word_to_the_longest():
    report = with_walls([0.2] * 17 + [1.5, 2.3] + [0.2] * 11)

    assert [(bar.cut, bar.cut_said) for bar in steps_chart(report).bars if bar.cut] == [
        (f"1.5{THIN}s", False),
        (f"2.3{THIN}s", True),
    ]
    assert [column.cut for column in loss_chart(report).columns if column.cut] == [f"2.3{THIN}s"]


@pytest.mark.parametrize(("slow_s", "why"), [(0.44, f"paused 2.3{THIN}s"), (0.56, "")])
def test_the_bracket_over_slow_steps_stands_on_them_clear_of_the_words_over_a_cut_bar_beside_it(slow_s, why):
    report = with_walls([0.2] * 12 + [slow_s] * 6 + [2.3] + [0.2] * 11)
    evidence = Evidence(steps=list(range(13, 19)), figures={"factor": 2.5})
    report.findings.append(Finding(cause="slow-service", owner="service", evidence=evidence))

    chart = steps_chart(report)

    assert chart.slow is not None and chart.slow.text == "compute 2.5× its usual"
    assert chart.slow.y == chart.bars[12].top
    assert [(bar.cut, bar.cut_why) for bar in chart.bars if bar.cut] == [(f"2.3{THIN}s", why)]


def test_of_many_steps_the_worst_are_kept():
    chart = steps_chart(report_of(long_run()))

    assert len(chart.bars) <= BARS and chart.binned == 10
    assert {"400", "77"} <= {bar.label for bar in chart.bars}


def test_a_live_run_has_room_for_the_steps_to_come():
    chart = steps_chart(report_of(made_run(steps=17, live=True)))

    assert chart.bars[-1].x + chart.bars[-1].width < 90
    assert [text for _, text in chart.coming] == ["20"]


def test_the_totals_beside_the_steps_are_the_runs():
    report = report_of(sick())
    marks = {total.part: total.figure[0] for total in steps_chart(report).totals}

    assert marks[OVER] == "≈" and marks["queue:capacity"] == "≤" and marks["call"] not in "≈≤"


def test_every_call_is_a_tick_and_every_failure_is_marked():
    report = report_of(sick())
    rows = {row.operation.operation: row for row in latency(report).rows}
    strips = {strip.name: strip for strip in over_time(report).strips}

    assert len(rows["forward_backward"].ticks) == 29
    assert sum(dot.failed for dot in strips["forward_backward"].dots) == 1
    assert len(over_time(report).pauses) == 2


def test_a_run_that_reports_no_loss_still_shows_its_steps():
    chart = loss_chart(report_of(made_run(steps=5, loss=False)))

    assert chart is not None and not chart.points and len(chart.columns) == 5


def test_before_the_first_step_there_is_no_chart():
    assert loss_chart(report_of({"run": "a"})) is None
    assert steps_chart(report_of({"run": "a"})).bars == []


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_an_axis_covers_its_figures_with_few_round_ticks(low, span):
    found = ticks(low, low + span, 3)

    assert found[0] <= low + span * 1e-6 and found[-1] >= low + span * (1 - 1e-6) and 2 <= len(found) <= 6


@given(st.floats(1e-3, 1e7))
def test_a_time_axis_has_few_ticks_within_the_run(wall):
    assert 1 <= len(time_ticks(wall, 4)) <= 6 and time_ticks(wall, 4)[-1] <= wall


def test_a_logarithmic_axis_is_not_crowded():
    assert log_ticks(0.2, 50) == pytest.approx([0.3, 1, 3, 10, 30])
    assert log_ticks(0.001, 500) == pytest.approx([0.001, 0.01, 0.1, 1, 10, 100])


def test_labels_stand_at_round_numbers():
    assert [label_every(count) for count in (5, 30, 120, 1200)] == [1, 5, 20, 200]


def test_a_pause_between_bounds_carries_its_mark_in_the_bar_and_on_the_timeline():
    bar = share_bar({"compute": 8.0, "queue:capacity": 2.0}, 0.0, {"queue:capacity": "bounded", "compute": "bounded"})

    assert [piece.figure for piece in bar.pieces] == ["≈\u202f8.0\u202fs", "≈\u202f2.0\u202fs"]
    assert bar.lost is not None and bar.lost.text.startswith("≈\u202f2.0\u202fs lost to Tinker")
    labels = [line[1] for line in json.loads(run_page(report_of(sick()), Ledger(), []).data_markup)["findings"]]
    assert "capacity-pause ≈\u202f47.0\u202fs" in labels


def test_what_is_above_the_axis_stands_at_its_edge_with_its_value():
    calls = [(float(at), 1.0 + at / 100, 1, at) for at in range(20)]
    calls += [(20.0, 47.0, 1, 20), (20.5, 30.0, 1, 21)]
    operation = {"operation": "optim_step", "count": len(calls), "p50_s": 1.1, "calls": calls}
    (strip,) = over_time(report_of({"run": "a", "wall_s": 40.0, "operations": [operation]})).strips
    cut = [dot for dot in strip.dots if dot.cut]

    assert (strip.top, strip.most) == ("3\u202fs", "47.0\u202fs")
    assert [(dot.said, dot.y) for dot in cut] == [("47.0\u202fs", 0.0), ("", 0.0)]
    assert all(dot.y > 0 for dot in strip.dots if not dot.cut)


def test_a_narrow_axis_of_latencies_is_labelled_at_powers_of_ten():
    calls = [(0.0, 0.009, 1, 1), (1.0, 0.5, 1, 2), (2.0, 1.2, 1, 3)]
    operation = {"operation": "optim_step", "count": 3, "p50_s": 0.5, "calls": calls}
    axis = latency(report_of({"run": "a", "operations": [operation]})).axis

    assert [tick.text for tick in axis if not tick.room] == ["10\u202fms", "1\u202fs"]
    assert [tick.text for tick in axis if tick.room != "wide"] == ["10\u202fms", "0.1\u202fs", "1\u202fs"]
