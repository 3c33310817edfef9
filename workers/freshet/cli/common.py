"""What the commands share: where they print, and how mistakes that a user can mend are told.

Such a mistake is one message on standard error and exit code 2 (wrong input or settings) or 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from freshet.dev.errors import CommandFailed
from freshet.dev.variables import help_lines
from freshet.runtime.settings import (
    AdminSettings,
    ConfigurationError,
    IngestSettings,
    ProcessorSettings,
    RecorderSettings,
    RekeySettings,
    ServingSettings,
)
from freshet.spec.problems import ManifestError

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

INGEST_URL = "http://localhost:8080"
SERVING_URL = "http://localhost:8083"

Manifests = Annotated[list[Path], typer.Argument(help="Manifest files or folders.", show_default=False)]


@contextmanager
def told() -> Iterator[None]:
    """What a user can mend is told without a traceback."""
    try:
        yield
    except (ManifestError, ConfigurationError) as error:
        errors.print(escape(str(error)))
        raise typer.Exit(2) from None
    except (CommandFailed, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


def epilog(
    settings: type[
        AdminSettings | IngestSettings | ProcessorSettings | RecorderSettings | RekeySettings | ServingSettings
    ],
) -> str:
    lines = (line.split(":", 1) for line in help_lines(settings))
    return "\n\n".join(["[bold]Environment[/]", *(f"[cyan]{name}[/]{escape(rest)}" for name, rest in lines)])


def option(what: str, variable: str | None = None) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(help=what, show_default=False, envvar=variable)
    return found
