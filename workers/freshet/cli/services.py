"""The services, each as its container runs it."""

from __future__ import annotations

import os

import typer

from freshet.cli.common import epilog, told
from freshet.runtime.settings import IngestSettings, ProcessorSettings, RecorderSettings, RekeySettings, ServingSettings

app = typer.Typer()


@app.command(epilog=epilog(IngestSettings))
def ingest() -> None:
    """Run the service that takes events over HTTP."""
    from freshet.ingest.service import run

    with told():
        run(IngestSettings.from_environment(os.environ))


@app.command(epilog=epilog(ProcessorSettings))
def processor() -> None:
    """Run the service that turns events into states."""
    from freshet.processor.service import run

    with told():
        run(ProcessorSettings.from_environment(os.environ))


@app.command(epilog=epilog(RecorderSettings))
def recorder() -> None:
    """Run the service that records history in PostgreSQL."""
    from freshet.recorder.service import run

    with told():
        run(RecorderSettings.from_environment(os.environ))


@app.command(epilog=epilog(RekeySettings))
def rekey() -> None:
    """Run the service that copies events into a topic that is keyed by an entity (spec.source.rekey)."""
    from freshet.rekey.service import run

    with told():
        run(RekeySettings.from_environment(os.environ))


@app.command(epilog=epilog(ServingSettings))
def serving() -> None:
    """Run the service that answers features over HTTP."""
    from freshet.serving.service import run

    with told():
        run(ServingSettings.from_environment(os.environ))
