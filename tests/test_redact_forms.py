"""Secrets that stand beside their name in another form than `key: value`: options, markup, encodings, prose."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.redact import MARK, redact, redact_text

secret_values = st.text(string.ascii_letters + string.digits, min_size=12, max_size=40).filter(
    lambda text: any(c.isdigit() for c in text) and any(c.isalpha() for c in text) and not text.isdigit()
)

DATA_FORMS: list[Any] = [
    ["false", "--api-key", "VALUE"],
    ("false", "--password", "VALUE", "--verbose"),
    ["x", "--token", "VALUE"],
    ["java", "-password", "VALUE"],
    ["curl", "-u", "admin:VALUE", "http://h"],
    ["/usr/bin/curl", "--user", "admin:VALUE"],
    {"Name": "Cookie", "Value": "VALUE"},
    {"NAME": "X-Api-Key", "vALue": "VALUE"},
    {"Key": "password", "Value": "VALUE"},
    {"csrf": "VALUE"},
    {"xsrf": "VALUE"},
    {"_csrf": "VALUE"},
    {"csrfmiddlewaretoken": "VALUE"},
    {"X-XSRF-TOKEN": "VALUE"},
    {"X-Hub-Signature-256": "sha256=VALUE"},
    {"client-key-data": "VALUE"},
    ["curl", "-b", "sid=VALUE; theme=dark", "http://h"],
    {"set-cookie2": "sid=VALUE"},
    {"kaggle_key": "VALUE"},
]
TEXT_FORMS = [
    "train.py --api-key VALUE --steps 5",
    "train.py --password VALUE",
    "train.py --token VALUE --steps 5",
    "train.py --password 'VALUE with spaces'",
    "train.py --api-key \\\n  VALUE",
    "Command '['false', '--api-key', 'VALUE']' returned non-zero exit status 1.",
    '["false","--password","VALUE"]',
    "api_key%3DVALUE",
    "api_key%3dVALUE%26steps%3D5",
    "x%3D1%26password%3DVALUE",
    "password%3A%20VALUE",
    "%7B%22api_key%22%3A%22VALUE%22%7D",
    "callback?next=%2Fx%3Faccess_token%3DVALUE",
    "api_key%253DVALUE",
    "Authorization%3A%20Bearer%20VALUE",
    "password%3DA%21VALUE",
    "https%3A%2F%2Fu%3AVALUE%40h%2Fpath",
    "https%3a%2f%2fu%3aVALUE%40h",
    "https%253A%252F%252Fu%253AVALUE%2540h",
    "passphrase: |\n  VALUE\nnext: 1",
    "db:\n  password: >-\n    VALUE\n    VALUE\n  host: h",
    "- secret: |2\n\n    VALUE",
    'yaml: "passphrase: |\\n  VALUE\\nnext: 1"',
    "<password>VALUE</password>",
    '<ns:apiKey type="x">VALUE</ns:apiKey>',
    "<password><![CDATA[VALUE]]></password>",
    '{"Name": "Cookie", "Value": "VALUE"}',
    json.dumps({"body": json.dumps([{"name": "x-api-key", "value": "VALUE"}])}),
    "csrf=VALUE; path=/",
    "xsrf: VALUE",
    "curl -u admin:VALUE http://h",
    "curl -su 'admin:VALUE' http://h",
    "curl --user=admin:VALUE http://h",
    "curl -uadmin:VALUE http://h",
    "Command '['curl', '-u', 'admin:VALUE']' died",
    "https://hooks.slack.com/services/T0VALUE/B1VALUE/VALUE",
    "https://discord.com/api/webhooks/123456/VALUE",
    "Incorrect API key provided: VALUE. You can find yours at the console.",
    "incorrect api key provided: 'VALUE'",
    "the password given is: VALUE",
    'OAuth oauth_nonce="n", oauth_signature="VALUE%3D"',
    "users:\n- name: u\n  user:\n    client-key-data: VALUE\n",
    "curl -b sid=VALUE http://h",
    "curl -sb 'theme=dark; sid=VALUE' http://h",
    "sshpass -p VALUE ssh h",
    "Command '['sshpass', '-p', 'VALUE', 'ssh', 'h']' returned non-zero exit status 5.",
    "mysql -u root -pVALUE db",
    "redis-cli -h h -a VALUE ping",
    "docker login -u u -p VALUE registry",
    "CREATE USER u IDENTIFIED BY 'VALUE'",
    "    auth=HTTPBasicAuth('u', 'VALUE'),",
    "<SimpleCookie: sid='VALUE'>",
    "https://outlook.office.com/webhook/VALUE@VALUE/IncomingWebhook/VALUE",
    'Content-Disposition: form-data; name="password"\r\n\r\nVALUE\r\n--b0--',
    "form-data; name=api_key\nContent-Type: text/plain\n\nVALUE\n--b0",
    r"""b'--b0\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\nVALUE\r\n--b0'""",
]
PLAIN_DATA: list[Any] = [
    ["train.py", "--max-tokens", "5", "--tokens", "100", "--key-length", "3"],
    ["x", "--password", "--verbose"],
    ["x", "--no-password", "host"],
    ["docker", "login", "--password-stdin", "registry"],
    ["docker", "run", "-u", "www:data"],
    ["curl", "-u", "1000:1000"],
    ["a", "--api-key", 5, "word"],
    {"Name": "Accept", "Value": "x"},
    {"csrf": True},
    {"tokens": 5},
    ["curl", "-b", "cookies.txt", "http://h?x=1"],
    {"method_signature": "f(x)", "key_data": "loss", "signature_version": "s3v4"},
]
PLAIN_TEXTS = """
train.py --max-tokens 5 --tokens 100 --key-length 3
password is required
the option --password is required
give --api-key or set TINKER_API_KEY
--token takes one argument
tokens: 5
max_tokens%3D5%26n%3D1
https%3A%2F%2Fh%2Fpath%40v2
prompt_tokens: |
<tokens>5</tokens> and <p>the password</p>
curl -u admin http://h
docker run -u www-data:www-data image
the password was: wrong
API key provided: none
csrf: failed
curl -b 'cookies.txt' http://h?x=1
git diff -b a=b
mysql -u root -p db
docker run -p 8080:80 image
    cookies: CookieTypes | None = None,
the key-value store, its path and the SKU
Content-Disposition: form-data; name="max_tokens"
https://slack.com/services/T123/B456
50% of the tokens = 5, 100% of the keys
{"name": "Accept", "value": "text/html", "tokens": 1}
""".strip().splitlines()


def filled(form: Any, value: str) -> Any:
    return (
        json.loads(json.dumps(form).replace("VALUE", value))
        if not isinstance(form, str)
        else form.replace("VALUE", value)
    )


@pytest.mark.parametrize("form", DATA_FORMS, ids=str)
@given(value=secret_values)
def test_a_secret_in_data_goes_whatever_it_is(form: Any, value: str) -> None:
    redacted = redact(filled(form, value))

    assert value not in json.dumps(redacted)
    assert MARK in json.dumps(redacted)
    assert redact(redacted) == redacted


@pytest.mark.parametrize("form", TEXT_FORMS)
@given(value=secret_values)
def test_a_secret_in_text_goes_whatever_it_is(form: str, value: str) -> None:
    redacted = redact_text(filled(form, value))

    assert value not in redacted
    assert MARK in redacted
    assert redact_text(redacted) == redacted


@pytest.mark.parametrize("plain", PLAIN_DATA, ids=str)
def test_data_that_only_looks_like_it_stays(plain: Any) -> None:
    assert redact(plain) == plain


@pytest.mark.parametrize("plain", PLAIN_TEXTS)
def test_a_text_that_only_looks_like_it_stays(plain: str) -> None:
    assert redact_text(plain) == plain


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("x --api-key k7Q2x9Zw --steps 5", f"x --api-key {MARK} --steps 5"),
        ("['x', '--api-key', 'k7Q2x9Zw', '--steps', '5']", f"['x', '--api-key', '{MARK}', '--steps', '5']"),
        ("a%3D1%26api_key%3Dk7Q2x9Zw%26b%3D2", f"a%3D1%26api_key%3D{MARK}%26b%3D2"),
        ("https%3A%2F%2Fu%3Ak7Q2%40h%2Fp", f"https%3A%2F%2F{MARK}%40h%2Fp"),
        ("db:\n  password: |\n    k7Q2\n\n    x9Zw\n  host: h", f"db:\n  password: {MARK}\n  host: h"),
        ("<a><password>k7Q2x9Zw</password><b>1</b></a>", f"<a><password>{MARK}</password><b>1</b></a>"),
        ("curl -u admin:k7Q2x9Zw http://h", f"curl -u admin:{MARK} http://h"),
        ("Incorrect API key provided: k7Q2x9Zw. Ask.", f"Incorrect API key provided: {MARK}. Ask."),
    ],
)
def test_what_stands_around_it_stays(text: str, left: str) -> None:
    assert redact_text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "--api-key " * 30_000,
        "--password '" * 30_000,
        "<password>" * 30_000 + "</",
        "<password " * 30_000 + "</",
        "api_key%3D" * 30_000,
        "password%" * 30_000,
        "%2F%2Fa%3A" * 30_000,
        "password: |\n" * 30_000,
        "password: |\n" + "\n" * 200_000,
        "password: |\\n" * 30_000,
        '"name":"secret","value' * 20_000,
        "password given " * 30_000 + ":",
        "curl -u " * 30_000,
        "curl -u a:" * 30_000,
        "--" + "a-" * 100_000 + " password:</%",
    ],
    ids=range(15),
)
@pytest.mark.timeout(20)
def test_hostile_text_cannot_make_a_scan_run_away(text: str) -> None:
    shown = redact_text(text)

    assert shown == text or MARK in shown
