"""Hiding secrets in what is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_SECRET_NAME = re.compile(r"password|secret|token|credential|private|sasl\.jaas|pem", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<login>[^/\s]*)@", re.IGNORECASE)
_URL_SECRET = re.compile(r"(?P<name>[?&](?:password|secret|token)[^=&]*=)[^&\s]*", re.IGNORECASE)

MASK = "***"


def without_logins(text: str) -> str:
    """The text with `user:password@` of every URL in it, and password parameters, masked."""
    return _URL_SECRET.sub(rf"\g<name>{MASK}", _URL_LOGIN.sub(rf"\g<scheme>{MASK}@", text))


def masked(name: str, value: Any) -> Any:
    """A setting as it may be printed: secrets masked, paths as text."""
    if isinstance(value, dict):
        return {inner: masked(inner, item) for inner, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [masked(name, item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is not None and _SECRET_NAME.search(name):
        return MASK
    return without_logins(value) if isinstance(value, str) else value
