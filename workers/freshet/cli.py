"""The command `freshet`: each command reads its options and hands over to the module that does the work.

Errors that a user can mend are one message on standard error and exit code 2 (wrong input or settings) or 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from freshet import __version__
from freshet.dev.errors import CommandFailed
from freshet.dev.variables import help_lines
from freshet.runtime.settings import ConfigurationError, IngestSettings, ProcessorSettings, ServingSettings
from freshet.spec.load import load_featuresets
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
        for featureset in load_featuresets(files):
            console.print(featureset_table(featureset))


def _epilog(settings: type[IngestSettings | ProcessorSettings | ServingSettings]) -> str:
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


@app.command(epilog=_epilog(ServingSettings))
def serving() -> None:
    """Run the service that answers features over HTTP."""
    from freshet.serving.service import run

    with _told():
        run(ServingSettings.from_environment(os.environ))


Port = Annotated[int, typer.Option(min=0, max=65535)]


@app.command()
def dev(
    files: Manifests,
    data: Annotated[Path | None, typer.Option(help="Keep data here. Default: a folder that is deleted.")] = None,
    port_ingest: Port = 8080,
    port_serving: Port = 8083,
    port_metrics: Port = 8082,
    port_kafka: Port = 0,
    port_valkey: Port = 0,
) -> None:
    """Run everything on this machine: Kafka, Valkey and all services. Port 0: a free one."""
    from freshet.dev.run import run
    from freshet.dev.stack import Ports

    with _told():
        run(files, data, Ports(port_ingest, port_serving, port_metrics, port_kafka, port_valkey), console)
