"""Serves the collector on loopback until it is told to stop."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from tinkertape.collector.app import KEEP, Ack, Pages, app
from tinkertape.collector.direct import Usual
from tinkertape.collector.keeping import Keep
from tinkertape.collector.loader import collect_less
from tinkertape.collector.protocol import CONNECTIONS_MAX, LimitedProtocol
from tinkertape.errors import CollectorError
from tinkertape.store import Store

BACKLOG = 2048
SWITCH_S = 0.0005  # the loader's threads compute; the event loop must not wait 5 ms for each turn of its own
GRACE_S = 3  # for open requests when it is told to stop; a stream is cut then


def serve(
    store_url: str,
    inbox: Path,
    tapes: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 8288,
    pages: Pages | None = None,
    ack: Ack = "durable",
    keep: Keep = KEEP,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then load what is here and return.

    `port` 0 takes a free one; `pages`, `ack` and `keep` are those of `app`. `ready` is called with the address,
    `http://127.0.0.1:8288`, once connections are taken. Blocks the caller, which must be the main thread.
    Raises `CollectorError` for an address that is not loopback, a port in use or an inbox that cannot be written;
    `StoreError` for the store.
    """
    listening = listen(host, port)
    sys.setswitchinterval(SWITCH_S)
    collect_less()
    try:
        with Store.open(store_url) as store:
            _run(app(store, inbox, tapes, pages=pages, ack=ack, keep=keep), listening, ready)
    finally:
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on loopback. Raises `CollectorError`."""
    address = _loopback(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise CollectorError(
            f"cannot listen on {host}:{port}: {reason}; choose another with --port, or 0 for a free one"
        ) from error
    return listening


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise CollectorError(
            f"cannot listen on {host}: only this machine may read a run until there are keys; use --host 127.0.0.1"
        )
    return str(address)


def _run(asgi: Starlette, listening: socket.socket, ready: Callable[[str], None]) -> None:
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        asgi,
        http=functools.partial(LimitedProtocol, usual=Usual(asgi.state.ingest)),  # type: ignore[arg-type]
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,  # a warning for each odd request would be as many as somebody likes
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=BACKLOG,
    )
    server = _Server(config, lambda: ready(address), asgi.state.collector.hub.close)
    server.run(sockets=[listening])
    if not server.started:
        raise CollectorError(f"cannot serve on {address}: the collector did not start; its log says why")


class _Server(uvicorn.Server):
    """Says when it takes connections, and returns after SIGINT or SIGTERM: uvicorn itself raises the signal once more,
    which would end the process before the store is closed.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._ending = ending

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        former = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()  # streams end by themselves; uvicorn would wait for them, then cut them
        await super().shutdown(sockets=sockets)
