"""What definitions take beyond the items of docs/facts/beam.md."""

from __future__ import annotations

import functools
import operator
import re
import sys
from pathlib import Path

import pytest
from tests.test_exports import loaded_by

from tinkertape import metrics
from tinkertape.errors import MetricError
from tinkertape.metrics import definitions, distribution, exponential_buckets, reporter_options, sum_, summary
from tinkertape.metrics.definitions import arity

OPTION = re.compile(r'reporter_options\.get\("(\w+)"')


class Callable:
    def __call__(self, first):
        pass

    def method(self, first, second):
        pass


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda first: 0, 1),
        (lambda first, second: 0, 2),
        (lambda first, second=0: 0, 1),
        (lambda first=0, second=0: 0, 1),
        (lambda *rest: 0, 1),
        (lambda first, *rest: 0, 1),
        (lambda: 0, -1),
        (lambda first, second, third: 0, -1),
        (lambda first, *, name: 0, -1),
        (Callable(), 1),
        (Callable().method, 2),
        (functools.partial(lambda first, second: 0, 1), 1),
        (operator.itemgetter("x"), 1),
        (len, 1),
        (dict, 1),
    ],
)
def test_a_function_is_called_with_as_many_arguments_as_it_needs(function, arguments):
    assert arity(function) == arguments


def test_buckets_may_grow_by_a_factor():
    assert exponential_buckets(10, 2, 4) == (10, 20, 40, 80)
    assert exponential_buckets(0.5, 10, 2) == (0.5, 5)
    wrong_ones = [(0, 2, 3), (1, 1, 3), (1, 2, 0), (float("nan"), 2, 3), ("1", 2, 3), (1, 2, 2.5), (1.0, 10, 400)]
    for wrong in wrong_ones:
        with pytest.raises(MetricError):
            exponential_buckets(*wrong)


def test_options_cannot_be_changed_from_outside():
    options = {"x": 1}
    metric = sum_("a.b.c", reporter_options=options)
    options["x"] = 2

    assert metric.reporter_options == {"x": 1}
    with pytest.raises(TypeError):
        metric.reporter_options["x"] = 3


@pytest.mark.parametrize("name", metrics._HOMES)
def test_every_public_name_is_there(name):
    assert getattr(metrics, name) is not None
    assert name in dir(metrics)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = metrics.nonesuch


def test_importing_tinkertape_imports_no_metrics():
    assert {name for name in loaded_by("import tinkertape") if name.startswith("tinkertape.metrics")} == set()


def test_metrics_need_msgspec_and_the_standard_library_only():
    loaded = loaded_by("from tinkertape.metrics import Aggregate, default; Aggregate(default()).collect()")

    ours = {"tinkertape", "msgspec", "typing_extensions"}
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - ours
    assert {name for name in foreign if not name.startswith("_")} == set()


@pytest.mark.parametrize(("given", "meant"), [("quantile", "quantiles"), ("prometheus_typ", "prometheus_type")])
def test_a_slip_in_reporter_options_is_an_error_with_the_right_name(given, meant):
    with pytest.raises(MetricError, match=f"unknown option {given!r} in reporter_options.*did you mean {meant!r}"):
        summary("a.b.c", reporter_options={given: 1})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("prometheus_type", value) for value in ("guage", "histogram", True, ["gauge"])],
        *[("quantiles", value) for value in ([], [2], [-0.1], ["0.5"], [True], 0.5, "01", [float("nan")])],
        *[("sampling_rate", value) for value in (0, 0.0, 2.0, -1, True, "1", float("nan"))],
        *[("report_as", value) for value in ("gauge", True, "")],
        *[("monotonic", value) for value in (0, 1, "no")],
    ],
)
@pytest.mark.parametrize("kind", [sum_, summary])
def test_a_value_that_no_reporter_could_use_is_refused_where_it_is_written(kind, option, value):
    with pytest.raises(MetricError, match=f"{option} of 'a.b.c' is .*; (use|give|want)"):
        kind("a.b.c", reporter_options={option: value})


@pytest.mark.parametrize("option", ["event_name", "measurement", "description", "tags"])
def test_text_that_no_system_could_be_sent_is_refused(option):
    half = "half a character: \ud83d".replace(" ", "_")
    with pytest.raises(MetricError, match="is no UTF-8: surrogates not allowed"):
        sum_("a.b.c", **{option: [half] if option == "tags" else half})
    with pytest.raises(MetricError, match="is no UTF-8"):
        sum_(half, event_name="a.b")


def test_a_reporter_option_that_is_None_is_left_out():
    assert sum_("a.b.c", reporter_options={"prometheus_type": None}).reporter_options == {}


def test_every_option_that_a_reporter_of_ours_reads_is_known():
    room = Path(definitions.__file__).parent
    read = {name for file in room.rglob("*.py") for name in OPTION.findall(file.read_text())}

    assert read == set(reporter_options.VALUES)


def test_all_options_are_told_once_where_none_is_near():
    with pytest.raises(MetricError) as caught:
        distribution("a.b.c", xyz=1)

    told = str(caught.value).partition("there are ")[2].split(", ")
    assert told == sorted(set(told))


async def awaited(metadata):
    return True


def generates(metadata):
    yield True


@pytest.mark.parametrize("function", [awaited, generates])
@pytest.mark.parametrize("option", ["keep", "drop", "tags", "tag_values", "measurement"])
def test_a_function_of_which_a_call_has_no_answer_is_refused(option, function):
    with pytest.raises(MetricError, match=f"{option} of 'a.b.c'"):
        sum_("a.b.c", **{option: function})
