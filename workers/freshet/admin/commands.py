"""The commands `freshet dlq …` and `freshet erase`. Exit code 2: what was asked for cannot be; 1: try again later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from freshet.runtime.settings import AdminSettings, ConfigurationError
from freshet.spec.durations import parse_duration
from freshet.spec.problems import ManifestError

if TYPE_CHECKING:
    from freshet.admin.installation import Installation
    from freshet.admin.letters import Filter

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: events that could not be processed, in history.")


class Form(StrEnum):
    """Of what is printed."""

    TEXT = "text"
    JSON = "json"


class Status(StrEnum):
    """Of a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


def _hint(text: str) -> Any:
    return typer.Option(help=text, show_default=False)


_ID = "TOPIC/PARTITION/OFFSET, as `list` shows it."
Ids = Annotated[list[str] | None, typer.Argument(help=_ID, show_default=False)]
Reasons = Annotated[list[str] | None, _hint("Repeatable: not_json, wrong_type, …")]
Time = Annotated[str | None, _hint("2026-01-05T10:30:00Z, or how long ago: 30m, 24h, 7d.")]
Partition = Annotated[int | None, typer.Option(min=0, help="Of the source topic.", show_default=False)]
Topic = Annotated[str | None, _hint("Source topic.")]
FeatureSets = Annotated[str | None, _hint("NAME or NAMESPACE/NAME.")]
Statuses = Annotated[list[Status] | None, _hint("Repeatable. Default: all.")]
Output = Annotated[Form, typer.Option(help="Form of the answer.")]


@contextmanager
def _installation() -> Iterator[Installation]:
    """From the environment; what a user can mend is told without a traceback."""
    import psycopg

    from freshet.admin.context import of_command
    from freshet.admin.installation import Refused, Unavailable
    from freshet.stores.postgres import HistoryDown, describe

    try:
        yield of_command(AdminSettings.from_environment(os.environ))
    except (ManifestError, ConfigurationError, Refused) as error:
        errors.print(escape(str(error)))
        raise typer.Exit(2) from None
    except psycopg.Error as error:
        errors.print(f"[red]error:[/] {escape(describe(error))}")
        raise typer.Exit(1) from None
    except (HistoryDown, Unavailable, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


def _filter(
    reason: list[str] | None,
    since: str | None,
    until: str | None,
    topic: str | None,
    partition: int | None,
    featureset: str | None,
    status: list[Status] | None = None,
) -> Filter:
    from freshet.admin.letters import Filter

    return Filter(
        reasons=tuple(reason or ()),
        since=_time("--since", since),
        until=_time("--until", until),
        topic=topic,
        partition=partition,
        featureset=featureset,
        statuses=tuple(one.value for one in status or ()),
    )


def _time(option: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(milliseconds=parse_duration(given))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigurationError(
            f'{option}: "{given}" is neither a time with zone (2026-01-05T10:30:00Z) nor a duration (30m, 24h, 7d)'
        )
    return at


def _narrowed(wanted: Filter, ids: list[str] | None) -> list[Filter]:
    """One filter an id; the filter itself if there is none. Raises ConfigurationError."""
    from dataclasses import replace

    if not ids:
        return [wanted]
    found = []
    for given in ids:
        topic, partition, offset = [*given.rsplit("/", 2), "", ""][:3]
        if not topic or not partition.isdecimal() or not offset.isdecimal() or int(offset) >= 1 << 63:
            raise ConfigurationError(f'"{given}" is not of the form TOPIC/PARTITION/OFFSET')
        if int(partition) >= 1 << 31:
            raise ConfigurationError(f'"{given}": there is no such partition')
        found.append(replace(wanted, topic=topic, partition=int(partition), offset=int(offset)))
    return found


def _print_json(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False))


@dlq.command("list")
def listed(
    reason: Reasons = None,
    since: Time = None,
    until: Time = None,
    topic: Topic = None,
    partition: Partition = None,
    featureset: FeatureSets = None,
    status: Statuses = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most letters, newest first.")] = 50,
    output: Output = Form.TEXT,
) -> None:
    """Show dead letters, newest first."""
    from freshet.admin import letters, shown

    with _installation() as installation, installation.history() as connection:
        wanted = _filter(reason, since, until, topic, partition, featureset, status)
        found = letters.find(connection, wanted, limit)
    if output is Form.JSON:
        _print_json({"dead_letters": [letter.as_json() for letter in found]})
    else:
        console.print(shown.table(found))


@dlq.command()
def show(
    id: Annotated[str, typer.Argument(help=_ID, show_default=False)],
    payload: Annotated[bool, typer.Option("--payload", help="Print key and payload to this terminal too.")] = False,
    featureset: FeatureSets = None,
    output: Output = Form.TEXT,
) -> None:
    """Show one refused record: why, whence, and on request what it held."""
    from freshet.admin import letters, shown
    from freshet.admin.letters import Filter

    with _installation() as installation, installation.history() as connection:
        (wanted,) = _narrowed(Filter(featureset=featureset), [id])
        found = letters.find(connection, wanted)
        held = letters.contents(connection, [letter.place for letter in found]) if payload else {}
    if not found:
        errors.print(escape(f"there is no dead letter {id}"))
        raise typer.Exit(2)
    if output is Form.JSON:
        contents = [shown.content_json(held[letter.place]) if letter.place in held else {} for letter in found]
        _print_json([{**letter.as_json(), **more} for letter, more in zip(found, contents, strict=True)])
        return
    for letter in found:
        console.print(shown.details(letter))
        if letter.place in held:
            console.print(shown.content(held[letter.place]))


@dlq.command()
def stats(
    reason: Reasons = None,
    since: Time = None,
    until: Time = None,
    topic: Topic = None,
    partition: Partition = None,
    featureset: FeatureSets = None,
    status: Statuses = None,
    output: Output = Form.TEXT,
) -> None:
    """Count dead letters by FeatureSet, reason and status."""
    from freshet.admin import letters, shown

    with _installation() as installation, installation.history() as connection:
        found = letters.stats(connection, _filter(reason, since, until, topic, partition, featureset, status))
    if output is Form.JSON:
        _print_json({"stats": [stat.as_json() for stat in found]})
    else:
        console.print(shown.stats_table(found))


@dlq.command()
def replay(
    ids: Ids = None,
    reason: Reasons = None,
    since: Time = None,
    until: Time = None,
    topic: Topic = None,
    partition: Partition = None,
    featureset: FeatureSets = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most letters. Default: all that fit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of each.")] = False,
    output: Output = Form.TEXT,
) -> None:
    """Send open dead letters again, each at most once, for the FeatureSet that refused them. Oldest first."""
    from freshet.admin import shown
    from freshet.admin.judge import Verdict
    from freshet.admin.replay import Order, resolve
    from freshet.admin.replay import replay as run

    verdicts: list[Verdict] = []
    with _installation() as installation:
        filters = _narrowed(_filter(reason, since, until, topic, partition, featureset), ids)
        reopened = 0 if dry_run else resolve(installation)
        with shown.progress(errors, installation, filters, limit, show=output is Form.TEXT) as advance:

            def tell(batch: Any) -> None:
                verdicts.extend(batch)
                advance(len(batch))

            for wanted in filters:
                left = None if limit is None else limit - len(verdicts)
                if left is None or left > 0:
                    run(installation, Order(wanted, left, dry_run), tell)
    if output is Form.JSON:
        _print_json({"reopened": reopened, "results": [verdict.as_json() for verdict in verdicts]})
    else:
        if reopened:
            console.print(f"{reopened} letters of an interrupted replay were never sent: they are open again")
        console.print(shown.verdicts(verdicts, dry_run=dry_run))
    unsent = ("failed", "in_doubt")
    if any(verdict.outcome in unsent or (ids and verdict.outcome not in shown.GOOD) for verdict in verdicts):
        raise typer.Exit(1)


@dlq.command()
def discard(
    ids: Ids = None,
    reason: Reasons = None,
    since: Time = None,
    until: Time = None,
    topic: Topic = None,
    partition: Partition = None,
    featureset: FeatureSets = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Put open dead letters aside: they stay readable, and are not replayed."""
    from dataclasses import replace

    from freshet.admin import letters

    with _installation() as installation, installation.history() as connection:
        filters = _narrowed(_filter(reason, since, until, topic, partition, featureset), ids)
        filters = [replace(one, statuses=("open",)) for one in filters]
        count = sum(stat.count for one in filters for stat in letters.stats(connection, one))
        if count and not yes:
            typer.confirm(f"Discard {count} dead letters?", abort=True)
        done = 0
        for wanted in filters:
            while some := letters.discard(connection, wanted, letters.MOST):
                done += some
    console.print(f"{done} dead letters discarded")


def erase(
    entity: Annotated[str, typer.Option(help="Its key, for example user_alice.", show_default=False)],
    topic: Annotated[list[str] | None, _hint("Source topic; repeatable. Default: those of all FeatureSets.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is applied everywhere, and show the receipt.")] = False,
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait.")] = 120,
    output: Output = Form.TEXT,
) -> None:
    """Forget an entity: its states, its history, its dead letters. Later events of it start afresh."""
    import time

    from freshet.admin import erasure, shown

    with _installation() as installation:
        receipt = erasure.request(installation, entity, topic or ())
        end = time.monotonic() + timeout
        while wait and not receipt.done and time.monotonic() < end:
            if installation.postgres is None:
                errors.print("FRESHET_POSTGRES is not set: there is no history whose erasure could be waited for")
                break
            time.sleep(0.5)
            receipt = erasure.receipt(installation, receipt.request_id) or receipt
    if output is Form.JSON:
        _print_json(receipt.as_json())
    else:
        console.print(shown.receipt(receipt))
    if wait and not receipt.done:
        raise typer.Exit(1)
