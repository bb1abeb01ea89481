"""Ids and names that came from elsewhere, made fit to be kept: without a secret, no longer than the store takes, and,
for a run, fit to be a part of an address.

An id that had to be changed carries a hash of what it was, so that two that were different stay so. Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tinkertape.config import event_id
from tinkertape.redact import MARK, redact_text

ID_MAX = 200  # characters of a run, process or session id
RUN_KEPT = 100  # characters kept of a run's id that had to be changed
_SAFE_RUN = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:-]{1,128}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")


def identity(given: Any) -> str:
    """An id as it is kept: a secret becomes the mark and a hash, one too long its beginning and a hash, what is no
    string nothing."""
    if not isinstance(given, str):
        return ""
    if redact_text(given) != given:
        return f"{MARK}-{_hash(given, 12)}"
    return given if len(given) <= ID_MAX else f"{given[: ID_MAX - 13]}-{_hash(given, 12)}"


def process_identity(process_uuid: Any) -> str:
    """One of ours that a plain body names has its own form again: what was sent whole, before or after, is the same."""
    given = identity(process_uuid)
    digits = given.replace("-", "")[:16]
    return digits if len(digits) == 16 and given == event_id(digits, 0) else given


def name(given: Any) -> str:
    """A name as it is kept: without secrets, and cut."""
    return redact_text(given)[:ID_MAX] if isinstance(given, str) else ""


def safe_run(given: str) -> str:
    """The run's id for an id that may hold anything: the same if it can stand in an address, else what can of it and a
    hash."""
    if _SAFE_RUN.fullmatch(given) or not given:
        return given
    return f"{_UNSAFE.sub('_', given[:RUN_KEPT])}-{_hash(given, 10)}"


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]
