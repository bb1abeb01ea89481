"""Secrets, taken out before anything is written.

A value is a secret by its key (`x-api-key`, `authorization`, `cf-access-*`, cookies, `*secret*`, `*password*`, …: then
it is replaced whatever its type) or by its shape (`tml-…`, `sk-…`, a JWT, a bearer, a password in a URL, a private key,
a cloud key). Both are looked for in nested data, in keys, and inside text: exception messages, tracebacks, `repr`s of
headers, query strings, JSON in a string. Counting words stay: `max_tokens`, `token_count`, `session_id`.

The mark never echoes what it replaced. Redacting twice changes nothing. Every scan is linear in the text: no pattern
here can be made to backtrack by hostile data. The caches hold only keys and texts in which nothing was found, and are
bounded; whatever thread calls, their worst race is a value worked out twice.

`keys`, `shapes` and `forms` say what a secret is, `texts` and `data` take it out; `add` says what else is one here.
"""

from tinkertape.redact.additions import add
from tinkertape.redact.data import redact
from tinkertape.redact.shapes import MARK
from tinkertape.redact.texts import is_secret_key, redact_bytes, redact_text

__all__ = ["MARK", "add", "is_secret_key", "redact", "redact_bytes", "redact_text"]
