"""What all tests share: the real servers, started when the first test needs them, and names that no two tests share.

With REQUIRE_ALL=1 (continuous integration) nothing may be left out: every skip counts as a failure.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey, NotInstalled
from tests.fuzzing import MADE

os.environ.pop("COLUMNS", None)  # pytest-xdist says 80, and rich remembers it: tests give widths of their own
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"
_numbers = itertools.count()
Server = TypeVar("Server", EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip that nobody sees is a hole in the proof."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which REQUIRE_ALL=1 forbids: {item.nodeid}: {call.excinfo and call.excinfo.value}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that leaves itself out."""
    report = yield
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which REQUIRE_ALL=1 forbids: {collector.nodeid}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells what it has made (`make test` runs two at a time)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["made"] = dict(MADE)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker has made is ours; one that died has told nothing."""
    MADE.update(getattr(node, "workeroutput", {}).get("made", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What fuzz tests have tried: a promise about numbers is kept where the numbers can be seen."""
    for what, count in sorted(MADE.items()):
        terminalreporter.write_line(f"fuzzed: {count:,} {what}")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A Kafka for the whole run: tests use topics of their own (`unique`) and leave the server running."""
    yield from _serve(EmbeddedKafka(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey for the whole run: tests use a namespace of their own (`unique`) and never flush it."""
    yield from _serve(EmbeddedValkey(tmp_path_factory.mktemp("valkey")))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for the whole run; tests use databases of their own (`database`)."""
    yield from _serve(EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), config={"fsync": "off"}))


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> str:
    """URL of an empty database of this test alone."""
    return postgres.create(f"d{next(_numbers)}")


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that this test may stop, kill and restart."""
    yield from _serve(EmbeddedPostgres(tmp_path / "postgres"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A Kafka that this test may stop, kill and restart."""
    yield from _serve(EmbeddedKafka(tmp_path / "kafka"))


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey, with its data kept over restarts, that this test may stop, kill, flush and restart."""
    yield from _serve(EmbeddedValkey(tmp_path / "valkey", appendonly=True))


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Makes names for topics, namespaces and groups that no other test of this run has: `unique("events")`."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:30]

    def name(kind: str) -> str:
        return f"{kind}-{test}-{next(_numbers)}"

    return name


@pytest.fixture
def topic(unique: Callable[[str], str]) -> str:
    """A topic name of this test alone; creating the topic is the test's part."""
    return unique("topic")


@pytest.fixture
def namespace() -> str:
    """A namespace of this test alone, short enough for every derived name."""
    return f"n{next(_numbers)}"


def _serve(server: Server) -> Iterator[Server]:
    try:
        server.start()
    except NotInstalled as error:
        if REQUIRE_ALL:
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.stop()
