"""How many examples: `ci` for every change, `long` (HYPOTHESIS_PROFILE=long) for a night or a doubt."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.property.plan import shared_database

# Examples are large on purpose, and the first of them compiles the engine's and the database's code paths.
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile(
    "ci",
    deadline=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "150")),
    print_blob=True,
    suppress_health_check=_SLOW,
)
settings.register_profile("long", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def closed_at_the_end() -> Iterator[None]:
    """Closes the database that examples share."""
    yield
    shared_database().close()
    shared_database.cache_clear()
