"""What every HTTP server that a test plays has in common: a free port of loopback, a thread, and nothing to say."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers as the subclass does, and keeps stderr clean."""

    disable_nagle_algorithm = True  # else head and body of an answer come 40 ms apart

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Serves at `url` from the start, a thread a connection, until `close` or the end of the `with`."""

    daemon_threads = True

    def __init__(self, handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._serving = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._serving.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._serving.join(10)

    def __exit__(self, *_: object) -> None:
        self.close()
