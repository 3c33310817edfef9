"""HTTP/1.1 with bounds that uvicorn lacks: on the size of headers, the time for them, and bodies nobody reads."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 << 10
HEADER_SECONDS = 15.0
"""From the connection, or the first byte of a further request, until its headers are complete."""

MAX_UNREAD_BYTES = 64 << 20
"""Of a body that goes on after its answer. Closing at the first byte would lose the answer that says what is wrong."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request headers are too large or too slow."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._awaited: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request have come."""
        super().data_received(data)
        if self._awaited is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """The first byte of a request was parsed."""
        super().on_message_begin()
        self._unread_bytes = 0
        self._await_headers()

    def on_headers_complete(self) -> None:
        """The headers of a request are complete."""
        self._headers_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a request's body was parsed."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                self.transport.close()

    def _await_headers(self) -> None:
        if self._awaited is None:
            self._header_bytes = 0
            self._awaited = self.loop.call_later(HEADER_SECONDS, self._refuse, b"408 Request Timeout")

    def _headers_came(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None

    def _refuse(self, status: bytes) -> None:
        self._headers_came()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
