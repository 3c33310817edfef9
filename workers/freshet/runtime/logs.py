"""Logging of the services: JSON lines for machines, short lines for a terminal.

Plain `logging` calls; facts go into `extra`, so that a line can be searched by field. Events, keys of entities and
secrets never go into a line; logins in URLs are masked in any case.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from freshet.runtime.secrets import masked, without_logins

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_NOISY = ("uvicorn.access", "uvicorn.error", "asyncio", "redis")
"""At debug level redis-py quotes commands, and so payloads."""


def configure(service: str, format: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Sends all log records of the process to `stream` (standard error), from `level` on.

    `format` is json, text, or auto: text if the stream is a terminal.
    """
    out = sys.stderr if stream is None else stream
    readable = format == "text" or (format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(TextFormatter(service) if readable else JsonFormatter(service))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, (TextFormatter, JsonFormatter)):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: masked(name, value) for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC), level, service, logger, message, then the extra fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": without_logins(record.getMessage()),
        }
        for name, value in _extra(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = without_logins(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:30:01 info processor: message  name=value …`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and its traceback below."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = "".join(f"  {name}={value}" for name, value in _extra(record).items())
        line = f"{clock} {record.levelname.lower():7} {self._service}: {without_logins(record.getMessage())}{facts}"
        if record.exc_info:
            line += "\n" + without_logins(self.formatException(record.exc_info))
        return line
