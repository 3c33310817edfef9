"""`freshet smoke` without a deployment: what it says, how it ends, and that it always ends."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from freshet.cli import app
from freshet.runtime.variables import ConfigurationError
from freshet.smoke import command, manifests, run
from freshet.smoke.names import declared, total
from freshet.smoke.options import Options
from freshet.smoke.report import Category, NotChecked, ProbeFailed, Report, Status, absent, failed, passed, skipped
from freshet.spec.problems import ManifestError

EXAMPLE = Path(__file__).parents[2] / "examples" / "user-activity" / "featureset.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


def smoke(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["smoke", *arguments], env=environment or {})
    return result.exit_code, result.output


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {category["name"]: category for category in document["categories"]}


def test_nothing_there_is_a_failure_with_advice_and_twelve_categories() -> None:
    url = nowhere()
    code, output = smoke("--ingest", url, "--serving", url, "--metrics", url, "--output", "json")
    document = json.loads(output)
    assert (code, document["passed"]) == (1, False)
    assert [category["number"] for category in document["categories"]] == list(range(1, 13))
    assert by_name(document)["Health of services"]["status"] == "failed"
    assert by_name(document)["Feature computation"]["status"] == "skipped"
    for name in ("A/B experiments", "Drift"):
        assert by_name(document)[name]["status"] == "absent"
    assert by_name(document)["Database"]["status"] == "skipped", "no URL was given"
    checks = [check for category in document["categories"] for check in category["checks"]]
    assert all(category["checks"] for category in document["categories"])
    for check in checks:
        assert len(check["sentence"]) > 10
        assert ("advice" in check) == (check["status"] == "failed"), check
    assert document["counts"]["failed"] == 3


def test_no_password_is_ever_printed() -> None:
    login = f"http://me:hunter2@127.0.0.1:{free_port()}"
    redis = f"redis://me:hunter2@127.0.0.1:{free_port()}"
    postgres = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/x"
    given = ("--ingest", login, "--serving", login, "--metrics", login, "--postgres", postgres)
    for output in ("text", "json"):
        code, text = smoke(*given, "--output", output, environment={"FRESHET_REDIS": redis})
        assert code == 1
        assert "hunter2" not in text
        assert "Connection refused" in " ".join(text.split()), "the environment's Redis is asked"
    code, text = smoke("--ingest", "ftp://me:hunter2@x")
    assert (code, "hunter2" in text) == (2, False)
    code, text = smoke(*given, "--redis", "redi://me:hunter2@x")
    assert (code, "hunter2" in text) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ingest", "localhost:8080"), "--ingest: localhost:8080 is not of the form http://host:port"),
        (("--serving", "http://"), "--serving: http:// is not of the form"),
        (("--metrics", "http://x:99999"), "--metrics: http://x:99999 is not of the form"),
        (("--manifest", "no-such-file.yaml"), "no-such-file.yaml: cannot be read"),
        (("--timeout", "1"), "--timeout"),
        (("--output", "xml"), "--output"),
    ],
)
def test_wrong_options_are_told_at_once(arguments: tuple[str, str], words: str) -> None:
    code, output = smoke(*arguments)
    assert code == 2
    assert words in " ".join(output.split())


@contextmanager
def silent() -> Iterator[str]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_silence_ends_in_time() -> None:
    with silent() as url:
        begin = time.monotonic()
        options = Options(
            ingest=url, serving=url, metrics=(url,), postgres=url, redis="redis" + url[4:], timeout_seconds=6
        )
        report = run.run(options)
    assert time.monotonic() - begin < 6 + 3.5
    assert not report.good
    sentences = [check.sentence for category in report.categories for check in category.checks]
    assert any("no answer in time" in sentence for sentence in sentences)
    assert any("were over before" in sentence for sentence in sentences)
    assert all(category.checks for category in report.categories)


def test_a_check_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hangs(state: object) -> Iterator[Any]:
        released.wait(60)
        yield passed("too late", "nobody sees it")

    monkeypatch.setattr(run, "CATEGORIES", (("One", lambda _: iter([passed("x", "seen")])), ("Two", hangs)))
    monkeypatch.setattr(run, "_GRACE_SECONDS", 0.1)
    report = run.run(Options(ingest=nowhere(), serving=nowhere(), timeout_seconds=0.3))
    released.set()
    assert [category.status for category in report.categories] == [Status.PASSED, Status.FAILED]
    assert "did not end within" in report.categories[1].checks[0].sentence


def test_a_mistake_of_ours_is_not_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(state: object) -> Iterator[Any]:
        raise ZeroDivisionError
        yield

    monkeypatch.setattr(run, "CATEGORIES", (("One", broken),))
    with pytest.raises(ZeroDivisionError):
        run.run(Options(ingest=nowhere(), serving=nowhere()))


def test_what_ends_a_category_is_its_last_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(state: object) -> Iterator[Any]:
        yield passed("a", "good")
        raise ProbeFailed("broken at redis://u:p@h", "mend it")

    def stops(state: object) -> Iterator[Any]:
        yield absent("a", "none")
        raise NotChecked("no reason")

    monkeypatch.setattr(run, "CATEGORIES", (("One", fails), ("Two", stops)))
    one, two = run.run(Options(ingest=nowhere(), serving=nowhere())).categories
    assert [(c.name, c.status, c.sentence) for c in one.checks][1] == ("the rest", "failed", "broken at redis://***@h")
    assert [(c.status, c.sentence) for c in two.checks] == [("absent", "none"), ("skipped", "no reason")]


class Bare(BaseHTTPRequestHandler):
    """Both services of an installation without a FeatureSet."""

    listing: tuple[int, dict[str, Any]] = (200, {"featuresets": []})

    def do_GET(self) -> None:
        missing = {"error": {"code": "not_found", "message": "no such route"}}
        page: dict[str, tuple[int, object]] = {
            "/health": (200, {}),
            "/ready": (200, {"ready": True}),
            "/featuresets": self.listing,
        }
        status, document = page.get(self.path, (404, missing))
        self._answer(status, document)

    def do_POST(self) -> None:
        self._answer(503, {"error": {"code": "no_featureset", "message": "no FeatureSet is applied yet"}})

    def _answer(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None: ...


class BareWithSentence(Bare):
    listing = (503, {"error": {"code": "no_featureset", "message": "no FeatureSet is applied yet"}})


@pytest.mark.parametrize("handler", [Bare, BareWithSentence])
def test_an_installation_without_a_featureset_has_not_failed(handler: type[Bare]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        document = run.run(Options(ingest=url, serving=url, metrics=(url,))).document()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    found = by_name(document)
    assert found["Processor configuration"]["status"] == "absent"
    assert found["Ingestion"]["status"] == "skipped"
    wrong = [c["name"] for c in document["categories"] if c["status"] == "failed"]
    assert wrong == ["Metrics"], "the stand-in has no /metrics; all else must not fail"


def test_statuses_and_exit_follow_from_the_checks() -> None:
    def category(*checks: Any) -> Category:
        return Category(1, "x", list(checks))

    good, bad = passed("a", "s"), failed("b", "s", "do")
    nothing, left = absent("c", "s"), skipped("d", "s")
    assert category(good, nothing, left).status is Status.PASSED
    assert category(good, bad).status is Status.FAILED
    assert category(nothing, left).status is Status.ABSENT
    assert category(left).status is Status.SKIPPED
    assert Report("r", None, [category(nothing, left)], 1).good
    assert not Report("r", None, [category(good), category(bad)], 1).good


def test_the_table_shows_everything() -> None:
    checks = [passed("fine", "seen [red]x[/]"), failed("bad", "broken", "mend it"), absent("later", "none")]
    report = Report("freshet-smoke-1", "orders", [Category(3, "API", checks)], 1.5)
    console = Console(width=150, file=io.StringIO())
    console.print(command.table(report))
    console.print(command.summary(report))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO
    for words in ("API", "seen [red]x[/]", "FAILED", "→ mend it", "not there", "smoke test of orders FAILED"):
        assert words in text
    assert "1 passed, 1 failed, 1 not there, 0 skipped" in text


def test_manifests_come_from_files_folders_and_what_the_operator_packs(tmp_path: Path) -> None:
    import yaml

    assert [one.name for one in manifests.read([EXAMPLE])] == ["user-activity"]
    assert [one.name for one in manifests.read([EXAMPLE.parent])] == ["user-activity"]
    assert manifests.read([tmp_path]) == [], "a ConfigMap that does not exist yet"
    packed = {"featuresets": [yaml.safe_load(EXAMPLE.read_text())]}
    (tmp_path / manifests.PACKED).write_bytes(gzip.compress(json.dumps(packed).encode(), mtime=0))
    (both,) = manifests.read([tmp_path])
    assert both.definition.revision == manifests.read([EXAMPLE])[0].definition.revision
    assert manifests.read([tmp_path / manifests.PACKED]) == [both]
    (tmp_path / manifests.PACKED).write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="--manifest"):
        manifests.read([tmp_path])
    with pytest.raises(ManifestError):
        manifests.read([tmp_path / "nothing.yaml"])


def test_metrics_are_found_on_a_page() -> None:
    page = '# TYPE a_total counter\na_total{x="1"} 2.0\na_total{x="}"} 3\nb 1.5\n# HELP c no\n'
    assert declared(page, "a_total")
    assert declared(page, "b")
    assert not declared(page, "c")
    assert (total(page, "a_total"), total(page, "b"), total(page, "a")) == (5.0, 1.5, None)
