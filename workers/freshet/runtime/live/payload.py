"""The content of the ConfigMap: `featuresets.json.gz`, bounded in size whatever it holds."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

KEY = "featuresets.json.gz"
"""Name of the entry in the ConfigMap, and of the mounted file."""

MAX_PACKED_BYTES = 2 << 20
"""Above what a ConfigMap can hold."""
MAX_BYTES = 16 << 20
"""Of the uncompressed JSON."""


class Unreadable(Exception):
    """A configuration that cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A configuration, opened but not compiled."""

    hash: str
    """First 16 hexadecimal digits of the SHA-256 of the JSON."""
    manifests: list[Any]


def unpack(packed: bytes) -> Payload:
    """Opens the file's bytes. Raises Unreadable with a sentence."""
    text = _gunzip(packed)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{KEY} does not hold JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("featuresets"), list):
        raise Unreadable(f'{KEY} must hold {{"featuresets": [...]}}')
    return Payload(hashlib.sha256(text).hexdigest()[:16], found["featuresets"])


def _gunzip(packed: bytes) -> bytes:
    if len(packed) > MAX_PACKED_BYTES:
        raise Unreadable(f"{KEY} is larger than {MAX_PACKED_BYTES >> 20} MiB")
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(packed, MAX_BYTES + 1)
    except zlib.error as error:
        raise Unreadable(f"{KEY} is not gzip: {error}") from None
    if len(text) > MAX_BYTES:
        raise Unreadable(f"{KEY} is larger than {MAX_BYTES >> 20} MiB when unpacked")
    if not stream.eof or stream.unused_data:
        raise Unreadable(f"{KEY} is not one whole gzip file")
    return text
