"""Store URLs: what each part means, and that no error shows a password."""

from __future__ import annotations

import pytest

from freshet.stores.redis import address, connect


def test_every_part_of_a_url_is_taken() -> None:
    one = address("redis://me:p%40ss@host:7000/3")
    assert (one.hosts, one.cluster) == ((("host", 7000),), False)
    assert (one.options["username"], one.options["password"], one.options["db"]) == ("me", "p@ss", 3)
    assert one.options["ssl"] is False
    tls = address("rediss://:secret@[::1]:7001?ssl_ca_certs=/ca.pem&ssl_check_hostname=false")
    assert (tls.hosts, tls.options["ssl"], tls.options["username"]) == ((("::1", 7001),), True, None)
    assert (tls.options["ssl_ca_certs"], tls.options["ssl_check_hostname"]) == ("/ca.pem", False)
    many = address("rediss+cluster://a:1,b:2,c")
    assert (many.hosts, many.cluster) == ((("a", 1), ("b", 2), ("c", 6379)), True)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://u:secret@host", "scheme 'http' given, allowed are redis, rediss"),
        ("redis://u:secret@host/x", "path '/x' given"),
        ("redis+cluster://u:secret@host/1", "path '/1' given"),
        ("redis://u:secret@a,b", "2 hosts given"),
        ("redis://u:secret@host:port", "host 'host:port' given"),
        ("redis://u:secret@", "host '' given"),
        ("redis://u:secret@host?retry_on_timeout=yes", "option 'retry_on_timeout' given, allowed: none without TLS"),
        ("rediss://u:secret@host?retry=3", "option 'retry' given, allowed: ssl_ca_certs"),
    ],
)
def test_a_bad_url_is_refused_without_showing_its_password(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match="store URL: ") as caught:
        address(url)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_retries_are_off() -> None:
    client = connect("redis://localhost:1")
    retry = client.get_connection_kwargs()["retry"]
    assert retry.get_retries() == 0
