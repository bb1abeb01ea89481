"""Whose mistake an exception is: the SDK's own classes, the specification's rule, and the chain of causes."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import tinker
from tinker.types import RequestErrorCategory

from tinkertape import faults
from tinkertape.faults import Fault, classify, error_category, fault_metadata, is_user_error, status_code

REQUEST = httpx.Request("POST", "http://127.0.0.1/api/v1/asample")


def status_error(status: int) -> Exception:
    return tinker.APIStatusError("no", response=httpx.Response(status, request=REQUEST), body=None)


def failed(category: RequestErrorCategory) -> Exception:
    return tinker.RequestFailedError("no", request_id="r1", category=category)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


@pytest.mark.parametrize(
    ("error", "fault", "user"),
    [
        (failed(RequestErrorCategory.User), Fault("user", "request_failed", False), True),
        (failed(RequestErrorCategory.Server), Fault("service", "request_failed", False), False),
        (failed(RequestErrorCategory.Unknown), Fault("unknown", "request_failed", False), False),
        (status_error(400), Fault("user", "bad_request", False), True),
        (status_error(401), Fault("user", "auth", False), True),
        (status_error(402), Fault("user", "billing", False), True),
        (status_error(404), Fault("user", "not_found", False), True),
        (status_error(408), Fault("service", "timeout", True), False),
        (status_error(410), Fault("service", "promise_expired", False), True),
        (status_error(429), Fault("unknown", "rate_limit", True), False),
        (status_error(503), Fault("service", "server_error", True), False),
        (tinker.APIConnectionError(request=REQUEST), Fault("network", "connection", True), False),
        (tinker.APITimeoutError(request=REQUEST), Fault("network", "timeout", True), False),
        (httpx.ConnectError("refused"), Fault("network", "connection", True), False),
        (ConnectionResetError(), Fault("network", "connection", True), False),
        (TimeoutError(), Fault("unknown", "timeout", True), False),
        (ValueError("mine"), Fault("user", "exception", False), True),
        (KeyboardInterrupt(), Fault("unknown", "interrupted", False), False),
        (SystemExit(3), Fault("unknown", "interrupted", False), False),
        (GeneratorExit(), Fault("unknown", "interrupted", False), False),
        (asyncio.CancelledError(), Fault("unknown", "interrupted", False), False),
        (concurrent.futures.CancelledError(), Fault("unknown", "cancelled", False), False),
    ],
)
def test_every_kind_of_exception_has_an_owner(error: BaseException, fault: Fault, user: bool) -> None:
    assert classify(raised(error)) == fault
    assert is_user_error(raised(error)) is user


def test_the_cause_counts_and_what_was_merely_being_handled_does_not() -> None:
    from_cause = raised(RuntimeError("wrapped"), status_error(503))
    try:
        try:
            raise status_error(400)
        except tinker.APIStatusError:
            raise KeyError("a bug in the except block")  # noqa: B904  the very case: no `from`
    except KeyError as caught:
        from_context: BaseException = caught

    assert classify(from_cause).owner == "service"
    assert not is_user_error(from_cause)
    assert classify(from_context) == Fault("user", "exception", False)


def test_an_exception_that_fails_to_say_is_known_by_its_class() -> None:
    class Unset(TimeoutError):
        @property
        def status_code(self) -> int:
            raise RuntimeError("no answer was set")

        __cause__ = status_code

    assert classify(raised(Unset())).kind == "timeout"
    assert fault_metadata(raised(Unset())) == {"fault_owner": "unknown", "is_user_error": False}


def test_classes_that_cannot_be_keys_or_are_equal_to_all_are_told_apart() -> None:
    class Odd(type):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(cls, other: object) -> bool:
            return True

    class First(ConnectionError, metaclass=Odd):
        pass

    class APITimeoutError(Exception, metaclass=Odd):
        pass

    for _ in range(2):
        assert classify(First()) == Fault("network", "connection", True)
        assert classify(APITimeoutError()) == Fault("network", "timeout", True)


def test_what_is_remembered_of_classes_is_bounded() -> None:
    for number in range(2 * faults.NAMES_MAX):
        assert classify(type(f"Made{number}", (ValueError,), {})()).owner == "user"

    assert len(faults._names) <= faults.NAMES_MAX


@pytest.mark.parametrize("status", [100, 204, 302, 400, 404, 408, 409, 410, 429, 500])
@pytest.mark.parametrize("name", ["ProgramError", "APIStatusError", "APIResponseValidationError"])
def test_whose_mistake_it_is_and_whether_it_is_yours_never_contradict(status: int, name: str) -> None:
    error: BaseException = type(name, (Exception,), {"status_code": status})()

    told = fault_metadata(error)

    assert told == {"fault_owner": classify(error).owner, "is_user_error": is_user_error(error)}
    assert told["is_user_error"] == (
        told["fault_owner"] == "user" or status == 410
    )  # 410: docs, the specification's rule


def test_a_cycle_of_causes_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first

    assert classify(first).owner == "user"


def test_what_the_sdk_itself_raised_is_the_clients() -> None:
    in_sdk: dict[str, Any] = {"__name__": "tinker.lib.somewhere"}
    exec("def fail():\n    raise RuntimeError('inside the SDK')", in_sdk)
    fail: Callable[[], None] = in_sdk["fail"]
    try:
        fail()
    except RuntimeError as caught:
        error = caught

    assert classify(error).owner == "client"
    assert not is_user_error(error)


def test_category_and_status_are_found_through_the_cause() -> None:
    assert error_category(raised(RuntimeError(), failed(RequestErrorCategory.User))) == "user"
    assert status_code(raised(RuntimeError(), status_error(429))) == 429
    assert (error_category(ValueError()), status_code(ValueError())) == (None, None)
