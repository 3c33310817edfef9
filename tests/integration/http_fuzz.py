"""HTTP requests that are right but for something, byte by byte, and what every answer to one of them has to be.

A request is drawn from the routes of a service, then bent: its path, query, headers, body, encoding and framing. It
goes over a connection of its own, in pieces, and the answer is read whole.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.fuzzing import bent, made, odd

_TIMEOUT_SECONDS = 20.0
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT")
_KINDS = ("application/json", "application/x-ndjson", "text/plain", "image/png", "multipart/form-data; boundary=x", "")
_BOMB = gzip.compress(b"[" + b" " * (32 << 20) + b"]")
_SEGMENTS = (
    *(b"%00", b"%ff", b"%ed%a0%80", b"%", b"%zz", b"%2F", b"..", b".", b"", b"+", b"%E2%80%AE", b"a" * 2000),
    *(b"\xff\xfe", b"%25", b"*", b";x=1", b"%F0%9F%98%80", b"x" * 513, b"-1", b"00000000-0000-0000-0000-000000000000"),
)
_HEADERS: tuple[bytes, ...] = (
    *(
        b"content-encoding: gzip",
        b"content-encoding: identity",
        b"accept: */*",
        b"accept: \xff",
        b"accept-encoding: gzip",
    ),
    *(b"upgrade: websocket\r\nconnection: upgrade", b"upgrade: h2c\r\nhttp2-settings: x", b"x: \xff\xfe", b"host: y"),
    *(b"authorization: Bearer wrong", b"authorization: \xff", b"x: " + b"y" * 30_000, b"cookie: " + b"a=b; " * 3000),
    *(
        b"range: bytes=0-1",
        b"if-none-match: *",
        b"origin: null",
        b"x-forwarded-for: ::1",
        b"expect: 100-continue",
        b"x:",
    ),
)
_BROKEN = (b"nonsense", b": x", b"a b: c", b"x: a\x00b", b"x: a\rb", b" folded: x", b"transfer-encoding: gzip")


@dataclass(frozen=True, slots=True)
class Route:
    """A request that is right."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send, and whether they are one whole request as far as its framing goes."""

    raw: bytes
    whole: bool
    head: bool
    pause: int
    """After how many bytes it is waited for a moment; 0: it goes at once."""


def bend(route: Route, rng: random.Random) -> Request:
    """The request with nothing, something or much of it changed."""
    method = route.method.encode() if rng.random() < 0.9 else rng.choice(_METHODS)
    body = _body(route.body, rng) if route.body is not None or rng.random() < 0.1 else b""
    lines = [f"{name}: {value}".encode() for name, value in route.headers.items() if rng.random() < 0.97]
    if rng.random() < 0.3:
        lines.append(b"content-type: " + rng.choice(_KINDS).encode())
    lines += rng.choices(_HEADERS, k=rng.choice((0, 0, 1, 4)))
    whole = rng.random() < 0.98
    if not whole:
        lines.append(rng.choice(_BROKEN))
    framing, framed, right = _framed(body, rng)
    start = method + b" " + _target(route, rng) + b" " + (b"HTTP/1.1" if rng.random() < 0.97 else b"HTTP/1.0")
    head = b"\r\n".join([start, b"host: x", b"connection: close", *lines, *framing])
    raw = head + b"\r\n\r\n" + framed
    return Request(raw, whole and right, method == b"HEAD", rng.randrange(len(raw)) if rng.random() < 0.1 else 0)


def _target(route: Route, rng: random.Random) -> bytes:
    segments = [quote(part, safe=":").encode() for part in route.path.split("/")[1:]]
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        place = rng.randrange(len(segments) + 1)
        segments[place : place + rng.randrange(2)] = [rng.choice(_SEGMENTS)]
    fields = [(name.encode(), quote(value, safe=",:").encode()) for name, value in route.query if rng.random() < 0.7]
    for _ in range(rng.choice((0, 0, 1, 2))):
        name = rng.choice([name for name, _ in route.query] or ["x"]).encode()
        value = rng.choice((*_SEGMENTS, quote(str(odd(rng))[:300].encode("utf-8", "surrogatepass")).encode()))
        fields.insert(rng.randrange(len(fields) + 1), (rng.choice((name, name, b"other", b"%ff", b"")), value))
    if rng.random() < 0.01:
        fields *= 150
    query = b"&".join(name + rng.choice((b"=", b"=", b"=", b"", b"==")) + value for name, value in fields)
    target = b"/" + b"/".join(segments) + (b"?" + query if query else b"")
    return target.replace(b" ", b"+").replace(b"\r", b"").replace(b"\n", b"")[:60_000]


def _body(given: Any, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.02:
        return _BOMB
    if kind < 0.04:
        return rng.choice((b"[", b'{"a":')) * rng.choice((30, 1_000, 100_000))
    if kind < 0.045:
        return b'{"a":"' + b"x" * rng.choice((70_000, 2_200_000, 11_000_000)) + b'"}'
    changed = bent(given, rng)
    text = json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if kind < 0.1 and isinstance(changed, dict) and changed:
        again = json.dumps({rng.choice(list(changed)): odd(rng)}).encode()
        text = again[:-1] + b", " + text[1:]  # a name that stands twice
    if kind < 0.2:
        for _ in range(rng.choice((1, 3))):
            at = rng.randrange(len(text) + 1)
            piece = rng.choice(
                (b"", b"{", b"]", b'"', b"\\", b"\xff", b"\x00", b"\\ud800", b"9" * 30, b"1e999", b"NaN")
            )
            text = text[:at] + piece + text[at + rng.randrange(3) :]
    if kind < 0.25:
        wide = text.decode("utf-8", "replace").encode("utf-16")
        text = rng.choice((gzip.compress(text), wide, text * 3, b"\n" + text))
    return text


def _framed(body: bytes, rng: random.Random) -> tuple[list[bytes], bytes, bool]:
    """Headers that say how long the body is, the body as it is sent, and whether the two agree."""
    kind = rng.random()
    length = b"content-length: %d" % len(body)
    if kind < 0.8:
        return [length] if body or rng.random() < 0.5 else [], body, True
    if kind < 0.93:
        parts, at = [], 0
        while at < len(body):
            size = min(len(body) - at, rng.choice((1, 7, 100, 1 << 16)) if len(body) < 5_000 else 1 << 18)
            parts.append(b"%x\r\n%b\r\n" % (size, body[at : at + size]))
            at += size
        return [b"transfer-encoding: chunked"], b"".join(parts) + b"0\r\n\r\n", True
    wrong: list[tuple[list[bytes], bytes]] = [
        ([b"content-length: %d" % (len(body) + 5)], body),
        ([b"content-length: %d" % (len(body) // 2)], body),
        ([b"content-length: %d" % 10**30], body),
        ([b"content-length: -1"], body),
        ([b"content-length: x"], body),
        ([length, b"content-length: 7"], body),
        ([length, b"transfer-encoding: chunked"], body),
        ([b"transfer-encoding: chunked"], b"zz\r\n" + body),
        ([b"transfer-encoding: chunked"], b"ffffffffffffffffff\r\n" + body),
        ([b"transfer-encoding: chunked"], b"5\r\nab"),
    ]
    return (*rng.choice(wrong), False)


def exchange(port: int, request: Request, what: str) -> Answer | None:
    """The answer; None where the connection was closed without one, or is kept for the rest of the request."""
    made(f"requests to {what}")
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS) as connection:
        with contextlib.suppress(ConnectionError):  # the answer is there before the body is read
            if request.pause:
                connection.sendall(request.raw[: request.pause])
                time.sleep(0.002)
            connection.sendall(request.raw[request.pause :])
        if not request.whole:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        answer = _read(connection, request.head)
    if answer is not None and answer.status < 300:
        made(f"requests to {what} that were right")
    return answer


def _read(connection: socket.socket, head: bool) -> Answer | None:
    stream = connection.makefile("rb")
    try:
        while (line := stream.readline()).startswith(b"HTTP/1.1 1"):
            while stream.readline().strip():
                pass
        if not line:
            return None
        headers = {}
        while text := stream.readline().strip():
            name, _, value = text.partition(b":")
            headers[name.decode().lower()] = value.strip().decode()
        length = 0 if head else int(headers.get("content-length", "0"))
        return Answer(int(line.split()[1]), headers, stream.read(length))
    except ConnectionError:
        return None


def check(answer: Answer | None, request: Request) -> None:
    """No answer is a 500, none is missing, and what is refused says why."""
    if answer is None:
        assert not request.whole or len(request.raw) > 1 << 20, "closed without an answer"
        return
    assert answer.status < 500, answer
    assert answer.status == 204 or request.head or answer.body or answer.status in (400, 408, 431), answer
    if answer.headers.get("content-type") == "application/json" and answer.body:
        found = json.loads(answer.body)
        if answer.status >= 400:
            assert _says_why(found), answer


def _says_why(found: Any) -> bool:
    """Our own form, or one of Feast's."""
    if isinstance(found, str):
        found = {"error": json.loads(found)}
    if "detail" in found:
        return bool(found["detail"][0]["msg"])
    return bool(found["error"]["message"])
