"""The Tinker SDK, seen from outside: public calls, requests, polls, pauses, attempts on the network, waits.

    installation.py  put on and taken off, also when `tinker` is imported only later
    flight.py        what is under way, and what belongs to what

    operations.py    the public calls begin       endings.py      and end      claims.py     your code waits
    importlib_bootstrap.py   what stands in the place of the SDK's methods
    submissions.py   handed over, accepted        attempts.py     one HTTP exchange
    requests.py      one API future               polls.py        is it ready? queue.py      paused, and why
    retries.py       back-offs of the HTTP client sessions.py     heartbeats   sdk_events.py what the SDK logs itself
    loop.py          busy runs of event loops     waits.py       your code waits where no claim sees it

    arguments.py, results.py   what is counted    futures.py      what lies inside a future
    failures.py                whose fault        routes.py       which endpoint a URL is    release.py  which SDK
    headers.py                 one of a request's
    base_models.py             what a client was made from                     content.py   tokens, if asked for

Nothing here imports the SDK: its classes are patched when it is there. No hook lets an error of ours through (`guard`),
and one that fails five times stays off. Prompts and tokens enter an event only if asked for, weights and
header values never.
"""

from tinkertape.instrument.tinker.flight import in_flight
from tinkertape.instrument.tinker.installation import install, uninstall
from tinkertape.instrument.tinker.sdk_events import Destination

__all__ = ["Destination", "in_flight", "install", "uninstall"]
