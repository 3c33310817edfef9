"""Everything on one machine: dev, demo, and traffic for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freshet.cli.common import INGEST_URL, Manifests, console, told

app = typer.Typer()

Port = Annotated[int, typer.Option(min=0, max=65535)]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Leave out PostgreSQL and the recorder.")]


@app.command()
def dev(
    files: Manifests,
    data: Annotated[Path | None, typer.Option(help="Keep data here. Default: a folder that is deleted.")] = None,
    port_ingest: Port = 8080,
    port_serving: Port = 8083,
    port_metrics: Port = 8082,
    port_kafka: Port = 0,
    port_valkey: Port = 0,
    port_postgres: Port = 0,
    no_history: NoHistory = False,
) -> None:
    """Run everything on this machine: Kafka, Valkey, PostgreSQL and all services. Port 0: a free one."""
    from freshet.dev.run import run
    from freshet.dev.stack import Ports

    with told():
        ports = Ports(port_ingest, port_serving, port_metrics, port_kafka, port_valkey, port_postgres)
        run(files, data, ports, console, history=not no_history)


@app.command()
def send(
    file: Annotated[str, typer.Argument(help="NDJSON, CSV or Parquet; - for NDJSON on standard input.")],
    url: Annotated[str, typer.Option(help="Of ingest.")] = INGEST_URL,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events a second. Default: as fast as it goes.")] = None,
    map: Annotated[list[str] | None, typer.Option(help="event_field=file_column, … Dots nest: geo.city=City.")] = None,
    const: Annotated[list[str] | None, typer.Option(help="event_field=value, …, the same for all rows.")] = None,
    timestamp: Annotated[str, typer.Option(help="Event field with the time.")] = "timestamp",
    event_id: Annotated[
        str, typer.Option(help="Event field with the id; made of file and row where absent.")
    ] = "event_id",
    timezone: Annotated[str, typer.Option(help="Of times that have none.")] = "UTC",
    shift_to_now: Annotated[bool, typer.Option("--shift-to-now", help="Move all times: the newest is now.")] = False,
    allow_refused: Annotated[bool, typer.Option("--allow-refused", help="Exit 0 though events were refused.")] = False,
) -> None:
    """Send the events of a file to ingest. Sent again soon (`deduplicate`), they count once."""
    from freshet.dev.commands import Options, send_file

    with told():
        options = Options(file, url, rate, map or [], const or [], timestamp, event_id, timezone, shift_to_now)
        summary = send_file(options, console)
    if summary.refused and not allow_refused:
        raise typer.Exit(1)


@app.command()
def simulate(
    users: Annotated[int, typer.Option(min=1, help="How many there are.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.001, help="Events a second.")] = 100,
    duration: Annotated[float | None, typer.Option(min=0, help="Seconds. Default: until Ctrl-C; 60 to a file.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and start give the same events.")] = 1,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of events that come late.")] = 0.02,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of events that come twice.")] = 0.01,
    start: Annotated[str | None, typer.Option(help="Time of the first event (ISO 8601). Default: now.")] = None,
    url: Annotated[str, typer.Option(help="Of ingest.")] = INGEST_URL,
    output: Annotated[str | None, typer.Option(help="Write NDJSON to this file (- for the terminal) instead.")] = None,
) -> None:
    """Make traffic of a shop: sessions, purchases, late and duplicate events."""
    from freshet.dev.commands import simulate_to_file, simulate_to_ingest, traffic

    with told():
        events = traffic(users, rate, seed, late, duplicates, start)
        if output is None:
            simulate_to_ingest(events, duration, url, console)
        else:
            simulate_to_file(events, 60 if duration is None else duration, output)


@app.command()
def demo(
    duration: Annotated[float | None, typer.Option(min=1, help="Seconds; then compare with SQL and end.")] = None,
    users: Annotated[int, typer.Option(min=400, help="Simulated users.")] = 500,
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = 1,
    manifest: Annotated[Path, typer.Option(help="The example.")] = Path("examples/user-activity/featureset.yaml"),
    port_ingest: Port = 8080,
    port_serving: Port = 8083,
    port_metrics: Port = 8082,
    no_history: NoHistory = False,
) -> None:
    """Run everything with simulated traffic and show a few users' features live."""
    from freshet.dev.demo import demo as run_demo
    from freshet.dev.stack import Ports
    from freshet.dev.visitors import Crowd

    with told():
        ports = Ports(port_ingest, port_serving, port_metrics)
        good = run_demo(manifest, duration, Crowd(users, rate, seed), ports, console, history=not no_history)
    if not good:
        raise typer.Exit(1)
