"""From a tape to a collector: `Delivery` reads what is on tape and hands it over, at least once, from a thread of its
own; `push` sends what is left, from the caller's.
"""

from __future__ import annotations

from tinkertape.delivery.carrier import Delivery
from tinkertape.delivery.leftovers import Left, Pushed, push

__all__ = ["Delivery", "Left", "Pushed", "push"]
