"""From a tape to a collector: `Delivery` reads what is on tape and hands it over, at least once, from a thread of its
own.
"""

from __future__ import annotations

from tinkertape.delivery.carrier import Delivery

__all__ = ["Delivery"]
