"""Is it a user's error? Our rule beside the specification's, the SDK's and Tinkex's, case by case.

The table is the one on the page (docs/faults.md), so that the page is true: ours and the SDK's are executed, the
specification's is its own code, Tinkex's is transcribed from `error.ex` (facts/sdk.md §7).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import tinker
from tinker.lib import telemetry as sdk_telemetry
from tinker.types import RequestErrorCategory

from tinkertape.faults import classify, is_user_error, status_code

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
REQUEST = httpx.Request("POST", "http://127.0.0.1/api/v1/asample")
RULES = ("tinkertape", "specification", "SDK", "Tinkex")


def status(number: int) -> Exception:
    return tinker.APIStatusError("no", response=httpx.Response(number, request=REQUEST), body=None)


def failed(category: RequestErrorCategory) -> Exception:
    return tinker.RequestFailedError("no", request_id="r1", category=category)


def caused(cause: Exception) -> Exception:
    error = RuntimeError("wrapped")
    error.__cause__ = cause
    return error


def while_handling(handled: Exception) -> Exception:
    error = KeyError("a bug in the except block")
    error.__context__ = handled
    return error


def raised_in(package: str, code: str = "raise RuntimeError('inside')") -> Exception:
    namespace: dict[str, Any] = {"__name__": package}
    exec(f"def fail():\n    {code}", namespace)
    try:
        namespace["fail"]()
    except (RuntimeError, ValueError) as error:
        return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    raise AssertionError


CASES: dict[str, Callable[[], Exception]] = {
    "RequestFailedError, category user": lambda: failed(RequestErrorCategory.User),
    "RequestFailedError, category server": lambda: failed(RequestErrorCategory.Server),
    "RequestFailedError, category unknown": lambda: failed(RequestErrorCategory.Unknown),
    **{f"status {number}": lambda number=number: status(number) for number in (400, 401, 402, 403, 404, 408, 409)},  # type: ignore[misc]
    **{f"status {number}": lambda number=number: status(number) for number in (410, 413, 422, 429, 500, 503)},  # type: ignore[misc]
    "an answer that the SDK cannot read": lambda: tinker.APIResponseValidationError(
        httpx.Response(200, request=REQUEST), None
    ),
    "JSON that the SDK cannot read": lambda: raised_in(
        "tinker._response", "import httpx; httpx.Response(200, text='<html>').json()"
    ),
    "APIConnectionError": lambda: tinker.APIConnectionError(request=REQUEST),
    "APITimeoutError": lambda: tinker.APITimeoutError(request=REQUEST),
    "a broken connection of another library": ConnectionResetError,
    "`TimeoutError`": TimeoutError,
    "an error of the program's own": lambda: ValueError("mine"),
    "an error that the SDK's code raised": lambda: raised_in("tinker.lib.somewhere"),
    "an error of the program's own, raised from a status 400": lambda: caused(status(400)),
    "an error of the program's own, raised from a status 503": lambda: caused(status(503)),
    "a bug in the program, while it handled a status 400": lambda: while_handling(status(400)),
}


def rows() -> dict[str, list[str]]:
    """The page's table: case → what each rule says, then owner, kind, and whether trying again can help."""
    found = re.findall(r"^\| ([^|]+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    table = {case.strip(): [cell.strip() for cell in rest.split("|")] for case, rest in found}
    return {case: cells for case, cells in table.items() if len(cells) == 7 and cells[0] in ("yes", "no")}


def by_the_specification(error: Exception) -> bool:
    """Its "User Error Detection", with the SDK's own classes."""
    if isinstance(error, tinker.RequestFailedError):
        return error.category == RequestErrorCategory.User
    if isinstance(error, tinker.APIStatusError):
        return 400 <= error.status_code < 500 and error.status_code not in (408, 429)
    return not isinstance(error, tinker.APIConnectionError | tinker.APITimeoutError)


def by_tinkex(error: Exception) -> bool:
    if isinstance(error, tinker.RequestFailedError) and error.category is RequestErrorCategory.User:
        return True
    number = getattr(error, "status_code", None)
    return isinstance(number, int) and 400 <= number < 500 and number not in (408, 410, 429)


def word(answer: bool) -> str:
    return "yes" if answer else "no"


def test_the_page_has_every_case_and_no_other() -> None:
    assert list(rows()) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_each_rule_says_what_the_page_says(case: str) -> None:
    error = CASES[case]()
    fault = classify(error)

    said = [word(rule(error)) for rule in (is_user_error, by_the_specification, sdk_telemetry.is_user_error, by_tinkex)]

    assert [*said, fault.owner, fault.kind, word(fault.retryable)] == rows()[case]


@pytest.mark.parametrize("case", CASES)
def test_a_users_error_is_never_the_networks_or_the_clients(case: str) -> None:
    error = CASES[case]()

    if is_user_error(error):
        assert classify(error).owner == "user" or status_code(error) == 410
