"""Commands about manifests and the values that they mean: validate, plan, features, explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from freshet.cli.common import SERVING_URL, Manifests, console, told
from freshet.smoke.options import Output
from freshet.spec.experiment import NOT_RUN
from freshet.spec.load import load_manifests

app = typer.Typer()


@app.command()
def validate(files: Manifests) -> None:
    """Check manifests and show what they mean."""
    from freshet.dev.catalogue import featureset_table

    with told():
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

    with told():
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

    with told():
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

    with told():
        featuresets = load_featuresets(manifest or [Path("examples/user-activity/featureset.yaml")])
        show_explanation(entity, feature, featuresets, redis, namespace, as_json=output is Output.JSON, console=console)
