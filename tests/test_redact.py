"""Secrets go, look-alikes stay, and nothing is changed twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.redact import MARK, redact, redact_bytes, redact_text, shapes, texts

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nq0nM4vPq\n-----END RSA PRIVATE KEY-----"

SECRET_KEYS = """
x-api-key X-API-Key apikey api_key apiKey API_KEY TINKER_API_KEY OPENAI_API_KEY authorization Authorization
Proxy-Authorization cf-access-client-id cf-access-client-secret CF-Access-Client-Secret cookie Cookie set-cookie
Set-Cookie secret client_secret clientSecret SECRET_KEY aws_secret_access_key AWS_ACCESS_KEY_ID password passwd
db_password userPassword passphrase credentials credential private_key privateKey ssh_key signing_key access_token
refresh_token id_token auth_token x-auth-token hf_token HF_TOKEN github_token session_token AWS_SESSION_TOKEN
bearer_token csrf_token X-Amz-Security-Token X-Amz-Signature X-Amz-Credential account_key otp pwd
""".split()  # noqa: SIM905  a list of words is read more easily so

PLAIN_KEYS = """
max_tokens num_tokens token_count prompt_tokens tokens sampled_tokens total_tokens cache_hit_tokens tokens_per_second
session_id sessionId request_id model_id author authors authenticated auth_method key keys public_key idempotency_key
primary_key sort_key key_id cache_key next_token pad_token eos_token bos_token stop_token time_to_first_token
cost_per_token token_id token_ids tokenizer tokenizer_name keyboard monkey turkey passed passes compass bypass path
secs seconds section bear cooked signature value name id operation status loss learning_rate PWD
""".split()  # noqa: SIM905  a list of words is read more easily so

SECRET_TEXTS = [
    ("tml-secretkey", "tml-secretkey"),
    ("key is tml-AbC_123-xyz, ok", "AbC_123"),
    ("b'tml-abcd1234'", "abcd1234"),
    ("line\\ntml-abcd1234", "abcd1234"),
    ("%22tml-abcd1234%22", "abcd1234"),
    ("sk-proj-abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"),
    ("sk-abc12345", "abc12345"),
    (f"token {JWT} rejected", "dozjgNryP4J3"),
    ("Bearer abc123def456", "abc123def456"),
    ("BEARER token Zm9vYmFyOmJheg==", "Zm9vYmFy"),
    ("Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
    ("postgres://user:hunter22@db/x", "hunter22"),
    ("https://u:p%40ss@host:8080/path?x=1", "p%40ss"),
    ("redis://:hunter22@localhost:6379/0", "hunter22"),
    ("mysql://u:a@b@c/db", "a@b"),
    ("https://ghp_abcdefghijklmnopqrstuvwxyz0123456789@github.com/x", "ghp_"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("hf_abcdefghijklmnopqrstuvwxyzABCD", "abcdefghij"),
    ("xoxb-123456789012-abcdefghij", "123456789012"),
    ("AIzaSyA-1234567890abcdefghijklmnopqrstu", "1234567890"),
    ("glpat-abcdefghij1234567890", "abcdefghij"),
    (PRIVATE_KEY, "q0nM4vPq"),
    (PRIVATE_KEY.replace("\n", "\\n"), "q0nM4vPq"),
    (f"private_key: {PRIVATE_KEY[:60]}", "MIIEpAIB"),
    ("Authorization: Basic abc", "abc"),
    ("authorization: custom scheme with words\r\nHost: x", "custom scheme"),
    ("Cookie: a=b; session=xyz", "xyz"),
    ("GET /v1?api_key=abc&password=def HTTP/1.1", "abc"),
    ("GET /v1?api_key=abc&password=def HTTP/1.1", "def"),
    ("https://h/x?sig=abc123%2Fdef&se=1", "abc123"),
    ("https://b.s3.amazonaws.com/x?X-Amz-Signature=deadbeef01&X-Amz-Date=1", "deadbeef01"),
    ("{'x-api-key': 'short', 'accept': '*/*'}", "short"),
    ("Headers({'x-api-key': 'abcde', 'cf-access-client-secret': 'fghij'})", "fghij"),
    ("[(b'x-api-key', b'abcde'), (b'host', b'h')]", "abcde"),
    ("Headers([('cookie', 'abcde'), ('cookie', 'fghij')])", "fghij"),
    ('{"password": "with \\"quotes\\" inside"}', "inside"),
    ('{"body": "{\\"api_key\\": \\"hunter2\\"}"}', "hunter2"),
    (json.dumps(json.dumps(json.dumps({"secret": 'one"two', "n": 1}))), "two"),
    ("{'secret': {'a': {'b': 1}, 'c': 'xyzzy'}, 'd': 4}", "xyzzy"),
    ("connect(password='hunter2', user='x')", "hunter2"),
    ('File "x.py", line 3\n    client = Client(api_key="plainkey", base="u")', "plainkey"),
    ("password=hunter2, user=x", "hunter2"),
    ("Server=db;Pwd=hunter2;", "hunter2"),
    ("api key: abcd1234", "abcd1234"),
    ("TINKER_API_KEY=abcde python train.py", "abcde"),
    ("err\\nx-api-key: abcde\\ncookie: fghij", "fghij"),
    ("headers = {'authorization': b'Token abcde'}", "abcde"),
    ('curl -H "X-Api-Key: abcde" http://h', "abcde"),
    ("invalid token=abcd1234efgh", "abcd1234"),
    ("auth=('user', 'hunter2')", "hunter2"),
    ('password="never closed', "never closed"),
]

PLAIN_TEXTS = """
max_tokens=100
token_count: 5, num_tokens: 12
session_id='session_b477a6b5'
{'prompt_tokens': 5, 'tokens': [1, 2, 3]}
tokens: 128
the plain word tokens
html-parser found
task-force and risk-averse and sk-learn
Bearer authentication failed
Basic authentication is not supported
a basic understanding
ssh://git@github.com/org/repo.git
http://localhost:8080/api/v1/telemetry?run=abc
https://example.org/a@b?c=d:e
mail me at someone@example.org
password=None
api_key='' was given
secret: null
auth: failed
authentication: required
author: someone
key: value
{'key': 'abc', 'keys': ['a', 'b']}
fields 'password', 'username' are missing
missing API key
Error code: 400 - {'detail': 'LoadWeights is not permitted with seq_id 21'}
tinker://run-1/weights/step-0001
req-7f3a9c1e-58b2:train:0
7d9d53d9-0107-419c-89d6-c883fd7a65d2
keyboard: qwerty, monkey=banana
next_token=5 pad_token: <pad>
-----BEGIN CERTIFICATE-----
heyJude1234567890
ASIAN MARKETS and AKIA
2026-11-24T02:24:42.796715Z
{"token": "hello", "logprob": -0.3}
compass=north bypass: true
""".strip().splitlines()


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize("value", ["abc", 5, None, ["a"], {"b": "c"}])
def test_the_value_under_a_secrets_key_is_replaced_whatever_its_type(key: str, value: Any) -> None:
    assert redact({key: value, "other": 1}) == {key: MARK, "other": 1}


@pytest.mark.parametrize("key", PLAIN_KEYS)
@pytest.mark.parametrize("value", [5, "abc", True, [1, 2]])
def test_the_value_under_a_plain_key_stays(key: str, value: Any) -> None:
    assert redact({key: value}) == {key: value}


@pytest.mark.parametrize(("text", "secret"), SECRET_TEXTS)
def test_a_secret_inside_a_text_is_replaced_and_not_echoed(text: str, secret: str) -> None:
    assert secret in text
    redacted = redact_text(text)

    assert secret not in redacted
    assert MARK in redacted
    assert redact_text(redacted) == redacted


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_a_text_that_only_looks_like_one_stays(text: str) -> None:
    assert redact_text(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    text = "{'x-api-key': 'abc', 'max_tokens': 5, 'url': 'https://u:p@h/x'} POST /x?api_key=q&n=1"

    assert redact_text(text) == (
        f"{{'x-api-key': '{MARK}', 'max_tokens': 5, 'url': 'https://{MARK}@h/x'}} POST /x?api_key={MARK}&n=1"
    )


def test_secrets_are_found_at_any_depth_and_in_keys_and_bytes() -> None:
    data = {"a": [{"b": ("x", "tml-abcd1234")}], "tml-abcd1234": 1, "raw": b"sent tml-abcd1234", "n": 3}

    assert redact(data) == {"a": [{"b": ("x", MARK)}], MARK: 1, "raw": f"sent {MARK}", "n": 3}


def test_pairs_of_name_and_value_are_known_as_headers() -> None:
    data = {"headers": [["x-api-key", "abc"], (b"cookie", b"d"), ["host", "h"]], "h": {"name": "Cookie", "value": "x"}}

    assert redact(data) == {
        "headers": [["x-api-key", MARK], ["cookie", MARK], ["host", "h"]],
        "h": {"name": "Cookie", "value": MARK},
    }


def test_a_token_is_a_secret_by_what_it_looks_like() -> None:
    assert redact(
        [{"token": "hello"}, {"token": 17}, {"token": "ab12cd34ef"}, {"auth": True}, {"auth": ["u", "p"]}]
    ) == [
        {"token": "hello"},
        {"token": 17},
        {"token": MARK},
        {"auth": True},
        {"auth": MARK},
    ]


def test_two_keys_that_become_alike_keep_both_values() -> None:
    assert sorted(redact({"tml-aaaa1": 1, "tml-bbbb2": 2}).values()) == [1, 2]


def test_data_without_a_secret_comes_back_as_the_same_object_and_nothing_is_changed_in_place() -> None:
    clean: dict[str, Any] = {"a": [1, {"b": "c"}], "d": ("e",)}
    dirty = {"a": ["tml-abcd1234"], "b": {"password": "x"}}

    assert redact(clean) is clean
    redact(dirty)
    assert dirty == {"a": ["tml-abcd1234"], "b": {"password": "x"}}


def test_bytes_that_are_no_text_are_searched_too() -> None:
    assert redact_bytes(b"\xff\x00tml-abcd1234") == f"\\xff\x00{MARK}"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(SECRET_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
_pieces = st.sampled_from(
    [text for text, _ in SECRET_TEXTS] + PLAIN_TEXTS + SECRET_KEYS + list(":=,;&@'\"\\[](){}\n ") + [MARK, "://", "b'"]
)


@given(_json)
def test_redacting_twice_changes_nothing_more(data: Any) -> None:
    once = redact(data)
    assert redact(once) == once


@given(st.lists(_pieces | st.text(max_size=5), max_size=8).map("".join))
def test_a_shaped_secret_survives_in_no_surrounding(text: str) -> None:
    redacted = redact_text(f"{text} tml-k7Q2x9Zw {text}")

    assert "k7Q2x9Zw" not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000 + "secret",
        "sk-" * 60_000,
        "key:" * 50_000,
        "password='" + "\\" * 100_000,
        "://a:b" * 40_000,
        "-----BEGIN " * 20_000,
        "secret=" + "[" * 100_000,
        ('"' + "\\") * 80_000 + "token",
        "api " * 50_000 + ":",
        "Bearer " * 30_000,
        "secret=[" * 3_000,
        "mysql x " * 20_000,
        "curl -b '" * 20_000,
        "form-data; name=password" + "\\r\\n" * 50_000,
    ],
    ids=range(14),
)
@pytest.mark.timeout(20)
def test_hostile_text_cannot_make_a_scan_run_away(text: str) -> None:
    shown = redact_text(text)

    assert shown == text or MARK in shown


@pytest.mark.parametrize("trigger", [trigger for shape in shapes.SHAPES for trigger in shape.triggers])
def test_no_shape_hides_behind_a_trigger_of_another(trigger: str) -> None:
    assert texts.TRIGGER.findall(trigger) == [trigger]


def test_long_texts_that_held_nothing_are_few_and_those_with_a_secret_are_never_kept() -> None:
    for number in range(2 * texts.LONG_MAX):
        redact_text(f"{number} " + "a traceback " * 20)
        redact_text(f"{number} " + "a traceback " * 20 + "password=hunter2")

    assert 0 < len(texts.clean_long) <= texts.LONG_MAX
    assert not any("hunter2" in text for text in texts.clean_long)


def test_a_source_line_that_ends_a_quote_after_a_secret_key_hides_no_other_line() -> None:
    text = 'raise ConnectionError("refused: api_key=" + word)\nConnectionError: refused: api_key=hunter2hunter2'

    assert redact_text(text).splitlines()[1] == f"ConnectionError: refused: api_key={MARK}"
    assert "hunter2" not in redact_text(text)


@given(
    st.text("0123456789abcdefxyzABKSIskrotemlhpnj_-.:=% ", max_size=60),
    st.sampled_from([text for text, _ in SECRET_TEXTS]),
)
def test_what_is_known_by_its_form_is_what_a_full_look_finds(text: str, secret: str) -> None:
    for tried in (text, f"{text} {secret}", f"{secret}{text}"):
        if len(tried) <= texts.CACHED_CHARS:
            assert redact_text(tried) == texts._redact_fully(tried)
