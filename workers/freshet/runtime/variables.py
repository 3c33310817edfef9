"""Environment variables to typed values, with errors that name the variable, what was given and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_CONFIG_MAP = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster")


class ConfigurationError(Exception):
    """Settings that no service can start with. One line a problem, each naming its variable."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable."""

    name: str
    parse: Callable[[str], Any]
    """Raises ValueError with what is allowed; must not repeat the given text if that may hold a secret."""

    def read(self, mapping: Mapping[str, str], field: str, required: bool, into: dict[str, Any]) -> None:
        """Puts the parsed value into `into[field]` if there is one. Raises ConfigurationError."""
        given = mapping.get(self.name, "").strip()
        if given:
            try:
                into[field] = self.parse(given)
            except ValueError as error:
                raise ConfigurationError(f"{self.name}: {error}") from None
        elif required:
            raise ConfigurationError(f"{self.name} is not set; {_EXAMPLES[self.name]}")


_EXAMPLES = {
    "FRESHET_KAFKA": "it names the Kafka brokers, for example 127.0.0.1:9092",
    "FRESHET_REDIS": "it names the online store, for example redis://127.0.0.1:6379/0",
    "FRESHET_POSTGRES": "it names the history database, for example postgresql://freshet@127.0.0.1:5432/freshet",
    "FRESHET_MANIFESTS": "it names files or folders with FeatureSets, for example examples/user-activity",
}


def text(given: str) -> str:
    """The text itself."""
    return given


def optional_text(given: str) -> str | None:
    """The text itself; absent means None."""
    return given


def number(low: float, high: float, whole: bool = True) -> Callable[[str], Any]:
    """A parser of numbers from `low` to `high`."""

    def parse(given: str) -> Any:
        try:
            value = int(given) if whole else float(given)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise ValueError(f'"{given}" is not {kind} from {low:g} to {high:g}')
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """A parser of one of these words, in any case."""

    def parse(given: str) -> str:
        if given.lower() not in allowed:
            raise ValueError(f'"{given}" is not one of {", ".join(allowed)}')
        return given.lower()

    return parse


def boolean(given: str) -> bool:
    """true or false, in any case."""
    return choice("true", "false")(given) == "true"


def folder(given: str) -> Path:
    """A path that need not exist yet."""
    return Path(given)


def config_map(given: str) -> tuple[str, str]:
    """`namespace/name` of a ConfigMap."""
    if not _CONFIG_MAP.fullmatch(given):
        raise ValueError(f'"{given}" is not of the form namespace/name of a ConfigMap')
    namespace, _, name = given.partition("/")
    return namespace, name


def paths(given: str) -> tuple[Path, ...]:
    """Comma-separated paths that exist."""
    found = tuple(Path(part.strip()) for part in given.split(",") if part.strip())
    missing = [str(path) for path in found if not path.exists()]
    if missing or not found:
        raise ValueError(f"there is no file or folder {', '.join(missing) or given}")
    return found


def servers(given: str) -> str:
    """Comma-separated host:port pairs."""
    for part in given.split(","):
        host, _, port = part.strip().rpartition(":")
        if "@" in part or not host or "/" in part or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("not of the form host:port,host:port (secrets belong into FRESHET_KAFKA_CONFIG)")
    return ",".join(part.strip() for part in given.split(","))


def redis_url(given: str) -> str:
    """A URL of a scheme that the store client knows; a cluster may be named by several nodes, separated by commas.

    The URL may hold a password: errors do not repeat it.
    """
    allowed = f"a URL is {', '.join(f'{scheme}://' for scheme in _SCHEMES)} with host and port"
    scheme, separator, rest = given.partition("://")
    login, at, hosts = rest.partition("/")[0].rpartition("@")
    several = hosts.split(",")
    if len(several) > 1 and not scheme.endswith("+cluster"):
        raise ValueError(f"it names several hosts, which only a cluster has; {allowed}")
    for host in several:
        try:
            parts = urlsplit(f"{scheme}{separator}{login}{at}{host}")
            port = parts.port
        except ValueError:
            raise ValueError(f"its port is not a number from 0 to 65535; {allowed}") from None
        if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
            raise ValueError(f"its scheme, host or port is not usable; {allowed}")
    return given


def postgres_url(given: str) -> str:
    """A postgresql:// URL. It may hold a password: errors do not repeat it."""
    try:
        parts = urlsplit(given)
        usable = parts.scheme in ("postgresql", "postgres") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it is not of the form postgresql://user:password@host:port/database")
    return given


def token(given: str) -> str:
    """A secret that is long enough not to be guessed. Errors do not repeat it."""
    if len(given) < 16 or not given.isascii() or not given.isprintable():
        raise ValueError("it must be at least 16 printable ASCII characters")
    return given
