"""The command `freshet`: each command reads its options and hands over to the module that does the work.

Errors that a user can mend are one message on standard error and exit code 2 (wrong input or settings) or 1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from freshet import __version__
from freshet.admin.commands import dlq, erase
from freshet.dev.errors import CommandFailed
from freshet.dev.variables import help_lines
from freshet.runtime.settings import (
    AdminSettings,
    ConfigurationError,
    IngestSettings,
    ProcessorSettings,
    RecorderSettings,
    ServingSettings,
)
from freshet.smoke.options import METRICS_URL, Options, Output
from freshet.spec.experiment import NOT_RUN
from freshet.spec.load import load_manifests
from freshet.spec.problems import ManifestError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Event streams into ML features that are fresh, exact and always on.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

INGEST_URL = "http://localhost:8080"
SERVING_URL = "http://localhost:8083"

Manifests = Annotated[list[Path], typer.Argument(help="Manifest files or folders.", show_default=False)]


def main() -> None:
    """Entry point of the installed command."""
    app()


@contextmanager
def _told() -> Iterator[None]:
    """What a user can mend is told without a traceback."""
    try:
        yield
    except (ManifestError, ConfigurationError) as error:
        errors.print(escape(str(error)))
        raise typer.Exit(2) from None
    except (CommandFailed, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


def _version(asked: bool) -> None:
    if asked:
        console.print(f"freshet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def validate(files: Manifests) -> None:
    """Check manifests and show what they mean."""
    from freshet.dev.catalogue import featureset_table

    with _told():
        featuresets, experiments = load_manifests(files)
    for featureset in featuresets:
        console.print(featureset_table(featureset))
    for experiment in experiments:
        console.print(f"Experiment {escape(experiment.metadata.name)} {NOT_RUN}")


@app.command()
def plan(
    files: Manifests,
    before: Annotated[Path | None, typer.Option(help="The manifest as it was: what would the change do?")] = None,
    output: Annotated[Output, typer.Option(help="Form of the report.")] = Output.TEXT,
) -> None:
    """Show what manifests ask for: windows, shared accumulators, bytes, retention, and what a change rebuilds."""
    from freshet.dev.plan import plan_of
    from freshet.dev.plan_text import show

    with _told():
        old = {fs.name: fs for fs in load_manifests([before])[0]} if before else {}
        plans = [plan_of(fs, old.get(fs.name)) for fs in load_manifests(files)[0]]
    if output is Output.JSON:
        typer.echo(json.dumps([one.document() for one in plans], indent=2))
        return
    for one in plans:
        show(one, console)


@app.command()
def features(
    entity: Annotated[str, typer.Argument(help="The entity's key.", show_default=False)],
    url: Annotated[str, typer.Option(help="Of serving.")] = SERVING_URL,
    featureset: Annotated[str | None, typer.Option(help="Only of this FeatureSet.", show_default=False)] = None,
    output: Annotated[Output, typer.Option(help="Form of the answer.")] = Output.TEXT,
) -> None:
    """Show an entity's features as serving answers them."""
    from freshet.dev.inspect import show_features

    with _told():
        show_features(entity, url, featureset, as_json=output is Output.JSON, console=console)


@app.command()
def explain(
    entity: Annotated[str, typer.Argument(help="The entity's key.", show_default=False)],
    feature: Annotated[str, typer.Argument(help="As it is read: activity_count_6h.", show_default=False)],
    manifest: Annotated[list[Path] | None, typer.Option(help="Manifest files or folders.")] = None,
    redis: Annotated[
        str, typer.Option(envvar="FRESHET_REDIS", help="The online store.", show_default=False, show_envvar=True)
    ] = "redis://localhost:6379/0",
    namespace: Annotated[
        str, typer.Option(envvar="FRESHET_NAMESPACE", help="Where the manifest has none.")
    ] = "default",
    output: Annotated[Output, typer.Option(help="Form of the answer.")] = Output.TEXT,
) -> None:
    """Show why a value is what it is: its formula, the times of its events, its tiles."""
    from freshet.dev.inspect import show_explanation
    from freshet.spec.load import load_featuresets

    with _told():
        featuresets = load_featuresets(manifest or [Path("examples/user-activity/featureset.yaml")])
        show_explanation(entity, feature, featuresets, redis, namespace, as_json=output is Output.JSON, console=console)


def _epilog(
    settings: type[AdminSettings | IngestSettings | ProcessorSettings | RecorderSettings | ServingSettings],
) -> str:
    lines = (line.split(":", 1) for line in help_lines(settings))
    return "\n\n".join(["[bold]Environment[/]", *(f"[cyan]{name}[/]{escape(rest)}" for name, rest in lines)])


@app.command(epilog=_epilog(IngestSettings))
def ingest() -> None:
    """Run the service that takes events over HTTP."""
    from freshet.ingest.service import run

    with _told():
        run(IngestSettings.from_environment(os.environ))


@app.command(epilog=_epilog(ProcessorSettings))
def processor() -> None:
    """Run the service that turns events into states."""
    from freshet.processor.service import run

    with _told():
        run(ProcessorSettings.from_environment(os.environ))


@app.command(epilog=_epilog(RecorderSettings))
def recorder() -> None:
    """Run the service that records history in PostgreSQL."""
    from freshet.recorder.service import run

    with _told():
        run(RecorderSettings.from_environment(os.environ))


@app.command(epilog=_epilog(ServingSettings))
def serving() -> None:
    """Run the service that answers features over HTTP."""
    from freshet.serving.service import run

    with _told():
        run(ServingSettings.from_environment(os.environ))


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

    with _told():
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

    with _told():
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

    with _told():
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

    with _told():
        ports = Ports(port_ingest, port_serving, port_metrics)
        good = run_demo(manifest, duration, Crowd(users, rate, seed), ports, console, history=not no_history)
    if not good:
        raise typer.Exit(1)


@app.command()
def purge(
    featureset: Annotated[str, typer.Option(help="NAMESPACE/NAME, as in the store's keys.", show_default=False)],
    revision: Annotated[str, typer.Option(help="10 hexadecimal digits.", show_default=False)],
    partitions: Annotated[int, typer.Option(min=1, max=1024, help="Of its source topic.", show_default=False)],
    redis: Annotated[
        str, typer.Option(envvar="FRESHET_REDIS", help="The online store.", show_default=False, show_envvar=True)
    ],
    postgres: Annotated[
        str | None, typer.Option(envvar="FRESHET_POSTGRES", help="History: its checkpoints go too.", show_default=False)
    ] = None,
    rate: Annotated[int, typer.Option(min=10, help="Most keys a second that are deleted.")] = 5000,
) -> None:
    """Delete the online keys of a revision whose processors have ended. May be repeated and interrupted."""
    from freshet.dev.purge import purge as run_purge

    with _told():
        run_purge(featureset, revision, partitions, redis, postgres, rate, console)


@app.command(epilog=_epilog(AdminSettings))
def restore(
    replication: Annotated[
        int | None, typer.Option(min=1, max=16, help="Copies of topics that are made; default: the manifests'.")
    ] = None,
) -> None:
    """Refill source topics that were lost from the history database, before any other service is started."""
    from freshet.dev.restore import restore as run_restore
    from freshet.spec.load import load_featuresets

    with _told():
        settings = AdminSettings.from_environment(os.environ)
        if settings.postgres is None or not settings.manifests:
            raise ConfigurationError("FRESHET_POSTGRES and FRESHET_MANIFESTS must be set: where from, and what")
        run_restore(
            load_featuresets(settings.manifests),
            settings.kafka,
            settings.postgres,
            settings.dead_letter_topic,
            replication,
            console,
        )


app.add_typer(dlq, name="dlq", epilog=_epilog(AdminSettings))
app.command(epilog=_epilog(AdminSettings))(erase)


@app.command()
def status(
    urls: Annotated[list[str] | None, typer.Argument(help=f"Metrics ports. Default: {METRICS_URL}.")] = None,
    output: Annotated[Output, typer.Option(help="Form of the report.")] = Output.TEXT,
) -> None:
    """Show what each service says of itself, and each partition's lag and rebuilding. Exit code 0: all are ready."""
    from freshet.dev import status as report

    told = report.ask(urls or [METRICS_URL])
    if output is Output.JSON:
        typer.echo(json.dumps(report.document(told), indent=2))
    else:
        report.show(told, console)
    if not all(service.ready for service in told):
        raise typer.Exit(1)


def _url(what: str, variable: str | None = None) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(help=what, show_default=False, envvar=variable)
    return found


@app.command()
def history(
    postgres: Annotated[str, typer.Option(envvar="FRESHET_POSTGRES", help="The history database.", show_default=False)],
    kafka: Annotated[str | None, _url("host:port of a broker: the lag is shown.", "FRESHET_KAFKA")] = None,
    kafka_config: Annotated[Path | None, _url("librdkafka properties (TLS, SASL).", "FRESHET_KAFKA_CONFIG")] = None,
    output: Annotated[Output, typer.Option(help="Form of the report.")] = Output.TEXT,
) -> None:
    """Show what is recorded in PostgreSQL: days, rows, sizes, retention, lag of each partition."""
    from freshet.dev.history import show

    with _told():
        show(postgres, kafka, kafka_config, as_json=output is Output.JSON, console=console)


@app.command()
def smoke(
    ingest: Annotated[str, typer.Option(help="URL of ingest.")] = INGEST_URL,
    serving: Annotated[str, typer.Option(help="URL of serving.")] = SERVING_URL,
    metrics: Annotated[list[str] | None, _url(f"URL of a metrics port; repeatable. Default: {METRICS_URL}.")] = None,
    kafka: Annotated[str | None, _url("host:port of a broker: its topics are checked.", "FRESHET_KAFKA")] = None,
    kafka_config: Annotated[Path | None, _url("librdkafka properties (TLS, SASL).", "FRESHET_KAFKA_CONFIG")] = None,
    redis: Annotated[str | None, _url("Redis or Valkey: it is asked directly.", "FRESHET_REDIS")] = None,
    postgres: Annotated[str | None, _url("Postgres: whether a server answers.")] = None,
    featureset: Annotated[str | None, _url("Which FeatureSet. Default: the first one.")] = None,
    manifest: Annotated[list[Path] | None, _url("Its manifest, file or folder: values are compared exactly.")] = None,
    dead_letter_topic: Annotated[
        str, typer.Option(envvar="FRESHET_DEAD_LETTER_TOPIC", help="Its name.")
    ] = "dead-letter-queue",
    output: Annotated[Output, typer.Option(help="Form of the report.")] = Output.TEXT,
    timeout: Annotated[float, typer.Option(min=5, max=3600, help="Seconds for everything.")] = 60,
    read_limit_ms: Annotated[float, typer.Option(min=0.001, help="Largest p99 of reads that passes.")] = 250,
    ingest_limit: Annotated[float, typer.Option(min=0, help="Least events/s of a batch that passes.")] = 50,
) -> None:
    """Check a running deployment from outside: twelve categories, exit code 0 only if nothing failed."""
    from freshet.smoke import command

    options = Options(
        ingest=ingest,
        serving=serving,
        metrics=tuple(metrics or ()),
        kafka=kafka,
        kafka_config=kafka_config,
        redis=redis,
        postgres=postgres,
        featureset=featureset,
        manifests=tuple(manifest or ()),
        dead_letter_topic=dead_letter_topic,
        timeout_seconds=timeout,
        read_limit_ms=read_limit_ms,
        ingest_limit=ingest_limit,
    )
    with _told():
        good = command.smoke(options, output)
    if not good:
        raise typer.Exit(1)
