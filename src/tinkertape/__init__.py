"""tinkertape: a flight recorder for Tinker fine-tuning runs.

The map of the house. A room imports only from floors below its own, and rooms on one floor do not import each other
(`pyproject.toml`, the contract "floors"). Data flow one way: sources, bus, handlers, tape, delivery, collector, store, page.

doors                 cli
servers               collector · dashboard · sim (which imports nothing of ours)
keepers               store · telemetry
carrier               delivery
sources and handlers  instrument · diagnosis
tape                  tape
bus                   events, over bus, over context
stone                 guard · faults · redact · config · wire, over errors

This module is the list of public names. Each is imported when it is first used, so that `import tinkertape` costs next to
nothing; no room imports from here.
"""

from __future__ import annotations
