"""What a key says about its value: a secret, a count, or nothing. Pure."""

from __future__ import annotations

import re

KEY_CHARS = 200
KEEP, SECRET, BY_VALUE, NOT_COUNTS, PAIRED, RENAME = range(6)


def set_of(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_SECRET_PARTS = (
    "secret", "password", "passwd", "passphrase", "passcode", "credential", "authorization", "authorisation", "apikey",
    "accesskey", "privatekey", "cfaccess", "csrftoken", "xsrftoken", "authtoken", "accesstoken", "refreshtoken",
    "xamzsignature", "xgoogsignature", "oauthsignature",
)  # fmt: skip
_SECRET_ENDS = ("cookie", "cookies", "setcookie2")
_SECRET_WORDS = frozenset({"pwd", "passkey", "authkey", "otp", "totp", "jsessionid", "phpsessid"})
_SIGNED = frozenset({"x", "stripe"})  # headers that prove who sends: `X-Hub-Signature-256`
_KEYS_OF = set_of(
    "account api application auth client consumer decryption deploy encryption hmac license master private secret",
    "service shared signing ssh storage subscription anthropic kaggle openai wandb",
)
_TOKEN_OF = set_of(
    "access admin api auth bearer bot client csrf deploy device github gh gitlab hf hub huggingface id jwt login npm",
    "oauth oauth2 personal private pypi refresh root sas secret security service session signing slack tinker user",
    "vault wandb webhook xsrf",
)
_TOKEN_OF_LISTS = set_of(
    "bos cls continuation cost cursor end eos first image last mask next pad page per prev previous sep space special",
    "start stop time unk video",
)  # of tokenizers, and of lists that are read page by page
_ABOUT = set_of("count enabled endpoint env file found length name path present required type")  # beside a secret
_ASKS = frozenset({"has", "is", "needs", "use"})
_TOKENS_OF = set_of("access api auth bearer csrf oauth refresh")
added_keys: list[re.Pattern[str]] = []  # by `additions.add`: of the words of a key, joined by "-"
added_words: list[str] = []  # one word of each, in lower case
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[^a-z0-9]+")


def words_of(key: str) -> list[str]:
    return [word for word in _NO_WORD.split(_CAMEL.sub("_", key[-KEY_CHARS:]).lower()) if word]


def verdict_of(key: str) -> int:
    """What a key says about its value; the words decide, so that `apiKey`, `API-KEY` and `my.api_key` are one."""
    words = words_of(key)
    if not words or key in ("PWD", "OLDPWD"):  # the shell's working folder
        return KEEP
    if added_keys and any(pattern.fullmatch("-".join(words)) for pattern in added_keys):
        return SECRET
    flat, last, before = "".join(words), words[-1], words[-2] if len(words) > 1 else ""
    if before and last in _ABOUT:
        return KEEP
    if before and words[0] in _ASKS:
        return NOT_COUNTS if _is_secret(words[1:]) else KEEP
    if _is_secret(words):
        return SECRET
    if last in ("auth", "jwt", "bearer", "csrf", "xsrf") or (last == "tokens" and before in _TOKENS_OF):
        return NOT_COUNTS
    if flat in ("token", "sig", "signature") or last == "pass" or (last == "token" and before not in _TOKEN_OF_LISTS):
        return BY_VALUE
    return PAIRED if flat == "value" else KEEP


def _is_secret(words: list[str]) -> bool:
    """Do the words of a key name a secret, whatever its value?"""
    flat, last, before = "".join(words), words[-1], words[-2] if len(words) > 1 else ""
    return (
        any(part in flat for part in _SECRET_PARTS)
        or flat.endswith(_SECRET_ENDS)
        or not _SECRET_WORDS.isdisjoint(words)
        or (last == "key" and before in _KEYS_OF)
        or (last == "token" and before in _TOKEN_OF)
        or (last == "data" and before == "key" and _is_secret(words[:-1]))  # `client-key-data` of a kubeconfig
        or (words[0] in _SIGNED and "signature" in words)
        or (("csrf" in flat or "xsrf" in flat) and flat.endswith("token"))
    )
