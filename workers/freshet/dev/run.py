"""`freshet dev`: starts the installation, says where it is, and keeps it running until Ctrl-C."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshet.dev.sample import sample_event
from freshet.dev.stack import Ports, Stack

_LOOK_SECONDS = 0.3


def run(manifests: Sequence[Path], data: Path | None, ports: Ports, console: Console, *, history: bool = True) -> None:
    """Blocks until Ctrl-C or SIGTERM. Raises ManifestError, PortInUse, NotInstalled, ServerFailed."""
    with started(manifests, data, ports, console, history=history) as stack:
        console.print(places(stack), "", sep="\n")
        console.print(calls(stack), "", "Ctrl-C ends it.", sep="\n", soft_wrap=True)
        while True:
            time.sleep(_LOOK_SECONDS)
            for story in stack.check():
                console.print(f"[yellow]{escape(story)}[/]")


@contextmanager
def started(
    manifests: Sequence[Path],
    data: Path | None,
    ports: Ports,
    console: Console,
    environment: Mapping[str, str] | None = None,
    *,
    history: bool = True,
) -> Iterator[Stack]:
    """A running installation; Ctrl-C and SIGTERM end the block quietly, and everything in it in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        with data_folder(data) as folder, console.status("reading the manifest") as status:
            stack = Stack(
                manifests, folder, ports, lambda doing: status.update(f"{doing} …"), environment, history=history
            )
            with stack:
                status.stop()
                console.print(f"[green]✓[/] ready after {time.monotonic() - began:.1f} s; data and logs in {folder}")
                yield stack
                status.update("stopping …")
                status.start()
    except KeyboardInterrupt:
        console.print("stopped")


@contextmanager
def data_folder(data: Path | None) -> Iterator[Path]:
    """The folder to keep data in; without one, a folder that is deleted at the end."""
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
        yield data.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="freshet-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def places(stack: Stack) -> Table:
    """Where everything listens."""
    table = Table.grid(padding=(0, 2))
    table.add_row("[bold]ingest[/]", f"{stack.ingest_url}/ingest", "POST events")
    table.add_row("[bold]serving[/]", f"{stack.serving_url}/features/…", "GET features")
    table.add_row("[bold]metrics[/]", f"{stack.hub.url}/metrics", "and /health, /ready")
    table.add_row("[bold]Kafka[/]", stack.kafka.bootstrap, "Apache Kafka")
    table.add_row("[bold]store[/]", stack.valkey.url, "Valkey")
    if stack.postgres is not None:
        table.add_row("[bold]history[/]", stack.postgres.url, "PostgreSQL, schema freshet")
    return table


def calls(stack: Stack) -> str:
    """Commands to try, that fit the manifest."""
    definition = stack.featuresets[0].definition
    key = f"{definition.entity}_alice"
    event = json.dumps(sample_event(definition, key, "evt_001"), ensure_ascii=False).replace("'", "'\\''")
    lines = (
        f"curl -X POST {stack.ingest_url}/ingest -d '{event}'",
        f"curl {stack.serving_url}/features/{key}",
        f"curl {stack.serving_url}/features/{key}/{definition.features[-1].name}",
        f"curl -s {stack.hub.url}/metrics | grep events_processed_total",
    )
    return "\n".join(f"  [cyan]{escape(line)}[/]" for line in lines)
