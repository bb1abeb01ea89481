"""Every error that tinkertape raises on purpose.

Each message is one line: what happened, why, and what to do, with the value in hand. The tree:

    TinkertapeError
    ├── BusError
    │   ├── EventNameError (ValueError)     a name that is no dotted lower-case path
    │   ├── AlreadyDeclared (ValueError)    another declaration of this event says something else
    │   ├── HandlerExists (ValueError)      the handler id is taken
    │   └── HandlerNotFound (LookupError)   nothing is attached under this id
    ├── ConfigError (ValueError)            a setting that cannot be used
    ├── MetricError (ValueError)            a definition of a metric that means nothing
    ├── InstrumentError                     the SDK is not what a source expects
    ├── PollerError (ValueError)            a measurement, period or name that cannot be used
    │   └── MeasurementNotFound (LookupError)   the poller has none of this name
    ├── TapeError
    │   ├── TapeNotFound (LookupError)      no tape there
    │   └── BadLine (ValueError)            a line that is no line of a tape
    ├── DiagnosisError                      a detector that breaks its own rules
    ├── DeliveryError                       a collector that cannot be reached, or refuses
    ├── StoreError
    │   └── StoreLocked                     another process holds the store
    └── CollectorError                      an address, port or folder that cannot be served
"""

from __future__ import annotations


class TinkertapeError(Exception):
    """The root: catch this to catch everything that tinkertape raises on purpose."""


class BusError(TinkertapeError):
    """The bus was used wrongly."""


class EventNameError(BusError, ValueError):
    """An event name is not a dotted path of lower-case segments."""


class AlreadyDeclared(BusError, ValueError):
    """An event is declared already, and otherwise; an event is declared once."""


class HandlerExists(BusError, ValueError):
    """A handler id is attached already; ids are unique over all events."""


class HandlerNotFound(BusError, LookupError):
    """No handler is attached under this id."""


class ConfigError(TinkertapeError, ValueError):
    """A setting has a value that cannot be used."""


class MetricError(TinkertapeError, ValueError):
    """A metric is defined, or reported, in a way that means nothing."""


class InstrumentError(TinkertapeError):
    """What a source should watch is not as it expects."""


class PollerError(TinkertapeError, ValueError):
    """A poller was given a measurement, a period or a name that it cannot use."""


class MeasurementNotFound(PollerError, LookupError):
    """The poller has no measurement of this name."""


class TapeError(TinkertapeError):
    """A tape cannot be read or written."""


class TapeNotFound(TapeError, LookupError):
    """There is no tape at this place."""


class BadLine(TapeError, ValueError):
    """A line that cannot be a line of a tape; its text is the reason."""


class DiagnosisError(TinkertapeError):
    """A detector does not keep the rules of its folder."""


class DeliveryError(TinkertapeError):
    """A collector cannot be reached, or refuses what it is sent."""


class StoreError(TinkertapeError):
    """The store cannot be opened, read or written."""


class StoreLocked(StoreError):
    """Another process holds the store's folder."""


class CollectorError(TinkertapeError):
    """The collector cannot serve: address, port, folder or store."""
