"""Runs the twelve categories in order, each within the time that is left, and never longer than asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from freshet.smoke import api, computation, configuration, health, history, ingestion, later, measured, names, stores
from freshet.smoke.options import Options
from freshet.smoke.report import Category, Check, NotChecked, ProbeFailed, Report, Status, failed, skipped
from freshet.smoke.state import Run

Checks = Callable[[Run], Iterator[Check]]

CATEGORIES: tuple[tuple[str, Checks], ...] = (
    ("Health of services", health.checks),
    ("Processor configuration", configuration.checks),
    ("API health", api.checks),
    ("Ingestion", ingestion.checks),
    ("Feature computation", computation.checks),
    ("A/B experiments", later.experiments),
    ("Drift", later.drift),
    ("Database", history.checks),
    ("Redis", stores.redis_checks),
    ("Kafka topics", stores.kafka_checks),
    ("Performance", measured.checks),
    ("Metrics", names.checks),
)

_GRACE_SECONDS = 3.0
"""What a call that does not keep its time, as a name look-up, may take beyond the run's time."""


def run(options: Options, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Looks at everything; `tell` takes the name of what is looked at now.

    Raises ConfigurationError and ManifestError for options that cannot be used; all else is in the report.
    """
    begin = time.monotonic()
    state = Run(options)
    categories = [Category(number, name) for number, (name, _) in enumerate(CATEGORIES, 1)]
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for category, (name, checks) in zip(categories, CATEGORIES, strict=True):
                tell(name)
                _fill(category, checks, state)
        except BaseException as error:
            errors.append(error)  # raised where the caller waits
        finally:
            state.close()

    worker = threading.Thread(target=work, name="smoke", daemon=True)
    worker.start()
    worker.join(options.timeout_seconds + _GRACE_SECONDS)
    if errors:
        raise errors[0]
    if worker.is_alive():
        categories = [_cut(category, options.timeout_seconds) for category in categories]
    chosen = state.chosen
    return Report(state.key, chosen, categories, time.monotonic() - begin)


def _fill(category: Category, checks: Checks, state: Run) -> None:
    """Takes the checks one by one, each with the time that it took."""
    mark = time.monotonic()
    found = checks(state)
    while True:
        try:
            check = next(found, None)
        except ProbeFailed as error:
            check, found = failed(_next_name(category), str(error), error.advice), iter(())
        except NotChecked as reason:
            check, found = skipped(_next_name(category), str(reason)), iter(())
        if check is None:
            return
        now = time.monotonic()
        category.checks.append(replace(check, seconds=now - mark))
        mark = now


def _next_name(category: Category) -> str:
    return "the rest" if category.checks else "all"


def _cut(category: Category, seconds: float) -> Category:
    """What is known of a category of a run that did not end."""
    if category.checks:
        return Category(category.number, category.name, list(category.checks))
    advice = "see what hangs (a name that is looked up, a firewall that answers nothing), or give more --timeout"
    check = Check("all", Status.FAILED, f"not checked: the run did not end within {seconds:g} s", advice)
    return Category(category.number, category.name, [check])
