"""The command `freshet`: each command reads its options and hands over to the module that does the work."""

from __future__ import annotations

from typing import Annotated

import typer

from freshet import __version__
from freshet.cli import development, manifests, operations, services
from freshet.cli.common import console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Event streams into ML features that are fresh, exact and always on.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (manifests, services, development, operations):
    app.add_typer(part.app)


def main() -> None:
    """Entry point of the installed command."""
    app()


def _version(asked: bool) -> None:
    if asked:
        console.print(f"freshet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options of the command itself."""
