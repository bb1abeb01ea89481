"""Every exchange of an httpx client, sync and async, as `http.request.*` (`exchanges.py`): for any SDK.

The seam is `_send_single_request` of both clients: below redirects and authentication, above the transports, which
anybody may replace. An exchange ends when the answer's stream is closed, as httpx does once its body is read.

Threads  the one that sends, or the event loop's; `_lock` is held by `install` and `uninstall`.
Fork     the patches stay.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import httpx

from tinkertape.guard import guard
from tinkertape.instrument.exchanges import Exchange, is_told, watching
from tinkertape.instrument.patches import Patches, passing_on
from tinkertape.instrument.tinker import attempts

_SEAM = "_send_single_request"
_lock = threading.Lock()
_patches = Patches()


def install() -> None:
    """Watch every client of httpx, those that are there too. A second call changes nothing. Any thread."""
    with _lock:
        if not len(_patches):
            _patches.replace(httpx.Client, _SEAM, watching(_begun, _follow))
            _patches.replace(httpx.AsyncClient, _SEAM, _watched_async)


def uninstall() -> None:
    """Give httpx back the very same functions. What is under way is told to its end. Any thread."""
    with _lock:
        _patches.restore()


def _watched_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def send(self: Any, request: Any) -> Any:
        exchange = _begun(request)
        try:
            response = await original(self, request)
        except BaseException as error:
            passing_on(error)
            if exchange is not None:
                exchange.failed(error)
            raise
        if exchange is not None:
            _follow_async(exchange, response)
        return response

    return send


@guard("instrument.httpx.begin")
def _begun(request: Any) -> Exchange | None:
    if not is_told() or attempts.is_watched(request):
        return None
    body: bytes | None = getattr(request, "_content", None)  # `.content` raises where the body is a stream
    size = None if body is None else len(body)
    url = request.url
    return Exchange("httpx", request.method, url.host, url.path, url.raw_path.decode("ascii", "replace"), size)


@guard("instrument.httpx.follow")
def _follow(exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status_code)
    close = response.stream.close

    def close_and_tell() -> None:
        exchange.ended(response.num_bytes_downloaded)
        close()

    response.stream.close = close_and_tell


@guard("instrument.httpx.follow")
def _follow_async(exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status_code)
    aclose = response.stream.aclose

    async def close_and_tell() -> None:
        exchange.ended(response.num_bytes_downloaded)
        await aclose()

    response.stream.aclose = close_and_tell
