"""Addresses as people write them, and as attackers do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.address import encode_code, normal_code, parse_address
from syncapp.errors import BadAddress

CODE = "7ZZZZZZZZZZZZZZZZZZZZZZZZ0"
DASHED = "7zzz-zzzz-zzzz-zzzz-zzzz-zzzz-zO"


@pytest.mark.parametrize(
    ("text", "site", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "ws://127.0.0.1:8000/sync/peer/"),
        ("https://host", "https://host", "wss://host/sync/peer/"),
        ("https://host/", "https://host", "wss://host/sync/peer/"),
        ("https://host:443", "https://host", "wss://host/sync/peer/"),
        ("http://host:443", "http://host:443", "ws://host:443/sync/peer/"),
        (
            "  HTTPS://Host.Example.COM/Prefix/ ",
            "https://host.example.com/Prefix",
            "wss://host.example.com/Prefix/sync/peer/",
        ),
        ("wss://host/a/b", "https://host/a/b", "wss://host/a/b/sync/peer/"),
        ("ws://host", "http://host", "ws://host/sync/peer/"),
        ("https://host/sync/peer/", "https://host", "wss://host/sync/peer/"),
        ("https://host/p/sync/peer", "https://host/p", "wss://host/p/sync/peer/"),
        ("http://[::1]:8000/", "http://[::1]:8000", "ws://[::1]:8000/sync/peer/"),
        ("https://офис.рф", "https://xn--h1alkk.xn--p1ai", "wss://xn--h1alkk.xn--p1ai/sync/peer/"),
        ("https://host//", "https://host", "wss://host/sync/peer/"),
    ],
)
def test_accepted(text: str, site: str, url: str) -> None:
    address = parse_address(text)
    assert address.site == str(address) == site
    assert address.url == url
    assert address.code == ""


@pytest.mark.parametrize(
    "text",
    [
        f"https://host/p {CODE}",
        f"https://host/p\t{DASHED}",
        f"https://host/p/{CODE}",
        f"https://host/p/{CODE.lower()}/",
        f"https://host/p/{DASHED}",
        f"https://host/p/sync/peer/{CODE}/",
        f"wss://host/p/sync/peer/{DASHED}",
        f"https://host/p/sync/peer/ {CODE}",
        "https://host/p 7zzz zzzz zzzz zzzz zzzz zzzz zo",
    ],
)
def test_with_a_code(text: str) -> None:
    address = parse_address(text)
    assert address.code == CODE
    assert address.url == f"wss://host/p/sync/peer/{CODE}/"
    assert CODE not in str(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "host",
        "host:8000",
        "//host",
        "ftp://host",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://host:70/_x",
        "http://",
        "http:///path",
        "https://user@host",
        "https://user:password@host",
        "https://host@169.254.169.254",
        "https://good.example\\@evil.example",
        "https://host\\evil",
        "https://host?x=1",
        "https://host/#/links",
        "https://host#",
        "https://host:0",
        "https://host:65536",
        "https://host:-1",
        "https://host:٣٣",
        "https://host:80x",
        "https://host:",
        "https://ho st",
        "https://host/\x00",
        "https://ho\x1bst",
        "https://host\u202e/",
        "https://-host",
        "https://host..example",
        "https://ho%73t",
        "https://ho$t",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://[fe80::1%eth0]",
        "https://[zz::1]",
        "https://[127.0.0.1]",
        "https://host/../x",
        "https://host/./x",
        "https://host/a//b",
        'https://host/"x',
        "https://host/пути",
        "https://" + "a" * 64 + ".example",
        "https://host/" + "x" * 600,
        "https://host not-a-code",
        f"https://host {CODE}{CODE}",
        f"https://host/{CODE} {CODE}",
        "https://host/sync/peer/not-a-code/",
        f"https://host 8{CODE[1:]}",
        f"https://host {CODE[:-1]}U",
        f"https://host {CODE[:-1]}",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    assert str(caught.value).isprintable()


@given(st.text(max_size=80))
def test_nothing_else_than_an_address_error_comes_of_any_text(text: str) -> None:
    for written in (text, "https://" + text, "https://host/" + text, "https://host " + text):
        try:
            address = parse_address(written)
        except BadAddress:
            continue
        assert parse_address(address.url) == address
        assert parse_address(address.site).code == "" or normal_code(address.prefix.rpartition("/")[2])


@given(st.binary(min_size=16, max_size=16))
def test_codes(raw: bytes) -> None:
    code = encode_code(raw)
    assert normal_code(code) == code
    assert normal_code(code.lower().replace("0", "o").replace("1", "l")) == code
    assert normal_code("-".join(code)) == code


def test_a_code_is_the_number_in_base_32() -> None:
    assert encode_code(bytes(16)) == "0" * 26
    assert encode_code(bytes(15) + b"\x21") == "0" * 24 + "11"
    assert encode_code(b"\xff" * 16) == "7" + "Z" * 25
