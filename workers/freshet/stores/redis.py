"""Connections to Redis or Valkey, one server or a cluster, on which nothing is ever sent twice.

redis-py 8 repeats a command up to ten times after a lost connection or a time-out, in the client of one server as in
the cluster's. A write of ours must not be repeated behind our back (design §6.5), so retries are off in both. What the
cluster client still follows are MOVED, ASK and TRYAGAIN: replies by which a server says that it did not execute the
command. A connection whose reply did not come is closed, so no later reply can be taken for another's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import MovedError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry

log = logging.getLogger(__name__)

Client = redis.Redis | RedisCluster

Failures = (RedisError, RedisClusterException, OSError)
"""What redis-py raises when a command has no good reply."""

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 5.0
"""Longest wait for a reply. An owner that gives up forgets its memory, so this is well above a store's pauses."""

_PORT = 6379
_SCHEMES = {
    "redis": (False, False),
    "rediss": (False, True),
    "redis+cluster": (True, False),
    "rediss+cluster": (True, True),
}
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")


class StoreDown(Exception):
    """The store did not answer, or said that it cannot; whether a write was executed is not known."""


class EvictingStore(Exception):
    """The store may forget keys when it is full: it must not hold state (design §6.10)."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed store URL."""

    hosts: tuple[tuple[str, int], ...]
    cluster: bool
    options: Mapping[str, Any]
    """Arguments of a connection: user, password, db, TLS, time-outs."""


def address(url: str) -> Address:
    """Reads `redis://[[user]:password@]host[:port][/db]`, with `rediss` for TLS and `+cluster` for a cluster.

    A cluster may name several hosts, separated by commas. Raises ValueError that never shows the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"store URL: scheme {parts.scheme!r} given, allowed are {', '.join(_SCHEMES)}")
    cluster, tls = _SCHEMES[parts.scheme]
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options: dict[str, Any] = {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "socket_timeout": REPLY_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        # RESP2: a server then never sends anything that was not asked for. RESP3 was measured to be no faster.
        "protocol": 2,
        "ssl": tls,
        **_tls_options(parts.query, tls),
    }
    database = parts.path.strip("/")
    if database and (cluster or not database.isdecimal()):
        raise ValueError(f"store URL: path {parts.path!r} given, allowed is a database number, and none for a cluster")
    if database:
        options["db"] = int(database)
    found = tuple(_host(host) for host in hosts.split(","))
    if len(found) > 1 and not cluster:
        raise ValueError(f"store URL: {len(found)} hosts given; several are allowed with +cluster only")
    return Address(found, cluster, options)


def no_retries() -> Retry:
    """A policy of redis-py by which a command is sent once."""
    return Retry(NoBackoff(), 0)


def connect(url: str) -> Client:
    """A client with all retries off. A single server is asked when first used, a cluster at once.

    Raises ValueError for a bad URL and StoreDown if no node of a cluster answers.
    """
    target = address(url)
    if not target.cluster:
        host, port = target.hosts[0]
        return redis.Redis(host=host, port=port, retry=no_retries(), **target.options)
    nodes = [ClusterNode(host, port) for host, port in target.hosts]  # type: ignore[no-untyped-call]
    try:
        return RedisCluster(startup_nodes=nodes, retry=no_retries(), **target.options)
    except Failures as error:
        raise StoreDown(describe(error)) from error


def execute(client: Client, *args: str | bytes | int) -> Any:
    """Sends one command once; its keys lie on one shard. Raises one of Failures."""
    return client.execute_command(*args)  # type: ignore[no-untyped-call]


def literal(text: str) -> str:
    """A text as a pattern of SCAN that matches nothing else."""
    return "".join(f"\\{c}" if c in "\\*?[]" else c for c in text)


def describe(error: Exception) -> str:
    """A sentence about a client's error that never quotes what was sent."""
    if isinstance(error, MovedError):
        return "the store is a cluster: its URL must begin with redis+cluster:// or rediss+cluster://"
    if isinstance(error, TimedOut | TimeoutError):
        return "no reply in time"
    if isinstance(error, Unreachable | ResponseError):
        return str(error).partition(", with args")[0]
    return type(error).__name__


def require_noeviction(client: Client) -> None:
    """Makes sure that every server keeps its keys when full. Raises EvictingStore, or StoreDown.

    A managed service may hide its settings; then a warning is all that can be done.
    """
    try:
        if isinstance(client, RedisCluster):
            replies: Mapping[str, Any] = client.info("memory", target_nodes=RedisCluster.PRIMARIES)
            sections = replies if "maxmemory_policy" not in replies else {"store": replies}
        else:
            sections = {"store": client.info("memory")}
    except ResponseError as error:
        log.warning("the store does not tell its eviction policy; it must be noeviction", extra={"error": str(error)})
        return
    except Failures as error:
        raise StoreDown(describe(error)) from error
    for name, section in sections.items():
        policy = section.get("maxmemory_policy")
        if policy is None:
            log.warning("the store does not tell its eviction policy; it must be noeviction", extra={"server": name})
        elif policy != "noeviction":
            raise EvictingStore(
                f"{name}: maxmemory-policy is {policy}, which lets a full store forget states; set it to noeviction"
            )


def _host(text: str) -> tuple[str, int]:
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        name, port = text, str(_PORT)
    if not name or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"store URL: host {text!r} given, allowed is host or host:port")
    return name.strip("[]"), int(port)


def _tls_options(query: str, tls: bool) -> dict[str, Any]:
    """Only what TLS needs may stand in the query: redis-py would take retry settings from there too."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    for name in given:
        if name not in _TLS_OPTIONS or not tls:
            allowed = ", ".join(_TLS_OPTIONS) if tls else "none without TLS"
            raise ValueError(f"store URL: option {name!r} given, allowed: {allowed}")
    return {n: v.lower() in ("1", "true", "yes") if n == "ssl_check_hostname" else v for n, v in given.items()}
