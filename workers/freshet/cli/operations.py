"""Looking after an installation: status, history, smoke, dlq, erase, restore, purge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from freshet.admin.commands import dlq, erase
from freshet.cli.common import INGEST_URL, SERVING_URL, console, epilog, option, told
from freshet.runtime.settings import AdminSettings, ConfigurationError
from freshet.smoke.options import METRICS_URL, Options, Output

app = typer.Typer()


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

    with told():
        run_purge(featureset, revision, partitions, redis, postgres, rate, console)


@app.command(epilog=epilog(AdminSettings))
def restore(
    replication: Annotated[
        int | None, typer.Option(min=1, max=16, help="Copies of topics that are made; default: the manifests'.")
    ] = None,
) -> None:
    """Refill source topics that were lost from the history database, before any other service is started."""
    from freshet.dev.restore import restore as run_restore
    from freshet.spec.load import load_featuresets

    with told():
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


@app.command()
def history(
    postgres: Annotated[str, typer.Option(envvar="FRESHET_POSTGRES", help="The history database.", show_default=False)],
    kafka: Annotated[str | None, option("host:port of a broker: the lag is shown.", "FRESHET_KAFKA")] = None,
    kafka_config: Annotated[Path | None, option("librdkafka properties (TLS, SASL).", "FRESHET_KAFKA_CONFIG")] = None,
    output: Annotated[Output, typer.Option(help="Form of the report.")] = Output.TEXT,
) -> None:
    """Show what is recorded in PostgreSQL: days, rows, sizes, retention, lag of each partition."""
    from freshet.dev.history import show

    with told():
        show(postgres, kafka, kafka_config, as_json=output is Output.JSON, console=console)


@app.command()
def smoke(
    ingest: Annotated[str, typer.Option(help="URL of ingest.")] = INGEST_URL,
    serving: Annotated[str, typer.Option(help="URL of serving.")] = SERVING_URL,
    metrics: Annotated[list[str] | None, option(f"URL of a metrics port; repeatable. Default: {METRICS_URL}.")] = None,
    kafka: Annotated[str | None, option("host:port of a broker: its topics are checked.", "FRESHET_KAFKA")] = None,
    kafka_config: Annotated[Path | None, option("librdkafka properties (TLS, SASL).", "FRESHET_KAFKA_CONFIG")] = None,
    redis: Annotated[str | None, option("Redis or Valkey: it is asked directly.", "FRESHET_REDIS")] = None,
    postgres: Annotated[str | None, option("The history database: its rows are checked.", "FRESHET_POSTGRES")] = None,
    featureset: Annotated[str | None, option("Which FeatureSet. Default: the first one.")] = None,
    manifest: Annotated[list[Path] | None, option("Its manifest, file or folder: values are compared exactly.")] = None,
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
    with told():
        good = command.smoke(options, output)
    if not good:
        raise typer.Exit(1)


app.add_typer(dlq, name="dlq", epilog=epilog(AdminSettings))
app.command(epilog=epilog(AdminSettings))(erase)
