"""Shared by the chart's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from charting import REPOSITORY


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--checkov", default=str(REPOSITORY / ".venv-checkov" / "bin" / "checkov"), help="the program")


@pytest.fixture(scope="session")
def checkov(request: pytest.FixtureRequest) -> str:
    """Path of checkov. It pins too much to live in the environment of these tests."""
    path = Path(request.config.getoption("--checkov"))
    assert path.exists(), f"there is no {path}: make check-charts installs it, or give --checkov"
    return str(path)
