"""From a tape to a collector: `Delivery` reads what is on tape and hands it over, at least once, from a thread of its
own; `push` sends what is left, from the caller's.

`post` speaks HTTP to one collector, `segments` reads what is there and remembers what was acknowledged, `foreign` says
what a server of others is sent (pure), `sender` decides what an answer means; `carrier` and `leftovers` drive it.
"""

from __future__ import annotations

from tinkertape.delivery.carrier import Delivery
from tinkertape.delivery.leftovers import Left, Pushed, push

__all__ = ["Delivery", "Left", "Pushed", "push"]
