"""msgspec's classes, made ready for several threads.

msgspec works out what a class is made of when it first makes one out of data. A second thread that comes meanwhile gets
what is half done, and the process dies of SIGSEGV, or stands still where the embedded engine catches that (msgspec
0.22.0; tests/stone/test_structs.py). A decoder of the class does that work.

Threads  a module calls `made_ready` while it is imported, which one thread does.
"""

from __future__ import annotations

import msgspec


def made_ready(*kinds: type[msgspec.Struct]) -> None:
    """From now on several threads at once may convert to these classes, and decode them."""
    for kind in kinds:
        msgspec.json.Decoder(kind)
