"""Every exchange of `requests`, as `http.request.*` (`exchanges.py`): for any SDK.

The seam is `HTTPAdapter.send`: below redirects, of which each hop is an exchange; the retries of urllib3, inside it,
are not told apart. An exchange ends when urllib3 takes back the connection, as it does once the body is read or let go.

Threads  the one that sends; `_lock` is held by `install` and `uninstall`.
Fork     the patches stay.
"""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

import requests.adapters

from tinkertape.guard import guard
from tinkertape.instrument.exchanges import Exchange, is_told, watching
from tinkertape.instrument.patches import Patches

_lock = threading.Lock()
_patches = Patches()


def install() -> None:
    """Watch every session of requests. A second call changes nothing. Any thread."""
    with _lock:
        if not len(_patches):
            _patches.replace(requests.adapters.HTTPAdapter, "send", watching(_begun, _follow))


def uninstall() -> None:
    """Give requests back the very same function. What is under way is told to its end. Any thread."""
    with _lock:
        _patches.restore()


@guard("instrument.requests.begin")
def _begun(request: Any) -> Exchange | None:
    if not is_told():
        return None
    url = urlsplit(request.url)
    size = len(request.body) if isinstance(request.body, bytes | str) else 0 if request.body is None else None
    return Exchange("requests", request.method, url.hostname or "", url.path, request.path_url, size)


@guard("instrument.requests.follow")
def _follow(exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status_code)
    raw = response.raw
    release = getattr(raw, "release_conn", None)
    if release is None or response.request.method == "HEAD" or raw.closed:  # an answer without a body
        exchange.ended(0)
        return

    def release_and_tell() -> None:
        exchange.ended(_received(raw))
        release()

    raw.release_conn = release_and_tell


def _received(raw: Any) -> int | None:
    """Bytes of the body, where the answer said how many there are: urllib3 counts the last ones only later."""
    said, left = raw.headers.get("Content-Length", ""), getattr(raw._original_response, "length", None)
    return int(said) - left if said.isdigit() and left is not None else None
