"""Tables that show what a manifest means: each value that will be served, with its windows and how exact they are."""

from __future__ import annotations

from itertools import groupby

from rich import box
from rich.table import Table

from freshet.spec.definition import AggregateFeature, Feature, FeatureSet
from freshet.spec.durations import duration_text


def featureset_table(featureset: FeatureSet) -> Table:
    """The features of one FeatureSet, one entry of the manifest a row."""
    definition, source = featureset.definition, featureset.source
    copied = f", copied from {source.origin}" if source.origin else ""
    table = Table(
        title=f"[bold]{featureset.name}[/] {featureset.version}: {len(definition.features)} values of each "
        f"{definition.entity}, by {definition.key}, from {source.topic}{copied}",
        caption=f"Revision {definition.revision}. A window's newest edge is exact; its oldest is floored to its hop.",
        title_justify="left",
        caption_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
    )
    for name in ("read as", "type", "computed by", "window (hop)"):
        table.add_column(name, no_wrap=name == "read as")
    for _, group in groupby(definition.features, key=_entry):
        table.add_row(*_row(list(group)))
    return table


def _entry(feature: Feature) -> str:
    return feature.base if isinstance(feature, AggregateFeature) else feature.name


def _row(group: list[Feature]) -> tuple[str, str, str, str]:
    feature = group[0]
    if not isinstance(feature, AggregateFeature):
        return feature.name, feature.type.value, "expression", "at read time"
    windows = [
        f"{one.window.text} ({duration_text(one.window.hop_ms)})" if one.window else "lifetime"
        for one in group
        if isinstance(one, AggregateFeature)
    ]
    name = feature.name if len(group) == 1 else f"{feature.base}_…"
    return name, feature.type.value, feature.aggregate.value, "  ".join(windows)
