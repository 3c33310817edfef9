"""A live configuration: what is used, from where, and what happens when the API, the file or a manifest is bad."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from freshet.runtime.live import source, state
from freshet.runtime.live.entries import Entries
from freshet.runtime.live.kubernetes import ApiError, ConfigMapApi
from freshet.runtime.live.payload import KEY, MAX_BYTES, MAX_PACKED_BYTES, Unreadable, unpack
from freshet.runtime.live.source import LiveConfig
from freshet.runtime.shutdown import Stop
from freshet.spec.definition import FeatureSet
from tests.fake_kubernetes import FakeKubernetes, fake_kubernetes, manifest, mount, names, packed
from tests.unit.serving.build import ACTIVITY, CARDS, ORDERS

A, B = manifest(ACTIVITY, "team-a"), manifest(CARDS, "team-b")


def eventually(holds: Callable[[], bool], what: str = "", seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


class Used:
    """Takes configurations as a service does."""

    def __init__(self) -> None:
        self.all: list[list[FeatureSet]] = []
        self.refuse: dict[str, str] = {}
        self.broken = False

    def __call__(self, featuresets: Sequence[FeatureSet]) -> Mapping[str, str]:
        if self.broken:
            raise RuntimeError("a mistake of ours")
        self.all.append(list(featuresets))
        return self.refuse

    @property
    def names(self) -> list[str]:
        return names(self.all[-1]) if self.all else []


@contextmanager
def following(used: Used, folder: Path | None, api: ConfigMapApi | None) -> Iterator[LiveConfig]:
    live = LiveConfig(used, "default", folder, api)
    live.start()
    try:
        yield live
    finally:
        live.close()


@pytest.fixture
def used() -> Used:
    return Used()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeKubernetes]:
    with fake_kubernetes(tmp_path / "account") as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MOUNT_SECONDS", 0.05)
    monkeypatch.setattr(source, "_LONGEST_WAIT", 0.3)


def test_what_is_there_at_the_start_and_every_change(fake: FakeKubernetes, used: Used) -> None:
    first = fake.write(A)
    with following(used, None, fake.api()) as live:
        live.wait(5, Stop())
        assert live.state() == state.ConfigState(first, ("team-a/user-activity",), "watch", None)
        second = fake.write(A, B)
        eventually(lambda: live.state().hash == second, seconds=2)
        assert live.state().featuresets == ("team-a/user-activity", "team-b/card-activity")
        assert used.all[1][0] is used.all[0][0], "what did not change stays the same object"
        assert fake.requests == ["list", "watch"]
        third = fake.write()
        eventually(lambda: live.state().hash == third)
        assert used.all[-1] == []


def test_no_config_map_yet_is_an_answer(fake: FakeKubernetes, used: Used) -> None:
    with following(used, None, fake.api()) as live:
        live.wait(5, Stop())
        assert live.known()
        assert live.state() == state.ConfigState(None, (), "watch", None)
        found = fake.write(A)
        eventually(lambda: live.state().hash == found)


def test_a_deleted_config_map_changes_nothing(fake: FakeKubernetes, used: Used) -> None:
    found = fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: live.state().hash == found)
        fake.write_bytes(None)
        eventually(lambda: "gone" in str(live.state().error))
        assert (live.state().hash, used.names) == (found, ["user-activity"])
        fake.write(A)
        eventually(lambda: live.state() == state.ConfigState(found, ("team-a/user-activity",), "watch", None))


def test_a_cut_watch_is_taken_up_again(fake: FakeKubernetes, used: Used) -> None:
    fake.write(A)
    with following(used, None, fake.api()) as live:
        for manifests in ([A, B], [B], [A]):
            eventually(lambda: fake.requests[-1:] == ["watch"])
            fake.cut()
            found = fake.write(*manifests)
            eventually(lambda found=found: live.state().hash == found and not live.state().error)  # type: ignore[misc]


def test_a_version_that_is_gone_is_listed_again(fake: FakeKubernetes, used: Used) -> None:
    found = fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: fake.requests == ["list", "watch"])
        fake.send({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
        eventually(lambda: fake.requests == ["list", "watch", "list", "watch"])
        assert live.state() == state.ConfigState(found, ("team-a/user-activity",), "watch", None)
        fake.refuse = 410
        fake.cut()
        time.sleep(0.5)
        fake.refuse = None
        found = fake.write(B)
        eventually(lambda: live.state().hash == found)


def test_bookmarks_change_nothing(fake: FakeKubernetes, used: Used) -> None:
    fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: fake.requests == ["list", "watch"])
        fake.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}})
        found = fake.write(B)
        eventually(lambda: live.state().hash == found)
        assert len(used.all) == 2


def test_a_renewed_token_is_read_for_the_next_connection(fake: FakeKubernetes, used: Used) -> None:
    fake.token = "newer"
    found = fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: "401" in str(live.state().error))
        assert not live.known(), "a refusal says nothing of the configuration"
        assert "a-token" not in str(live.state().error)
        (fake.account / "token").write_text("newer\n")
        eventually(lambda: live.state().hash == found and not live.state().error)


def test_the_file_decides_while_the_api_cannot_be_asked(fake: FakeKubernetes, used: Used, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    content, old = packed(A)
    mount(folder, content)
    fake.refuse = 403
    new = fake.write(A, B)
    with following(used, folder, fake.api()) as live:
        eventually(lambda: live.state().hash == old)
        assert live.state().source == "mount"
        assert "it is refused" in str(live.state().error)
        mount(folder, packed(B)[0])
        eventually(lambda: live.state().hash == packed(B)[1])
        fake.refuse = None
        eventually(lambda: live.state() == state.ConfigState(new, live.state().featuresets, "watch", None))
        assert used.names == ["user-activity", "card-activity"]


def test_a_file_that_lags_behind_never_wins(fake: FakeKubernetes, used: Used, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    mount(folder, packed(A)[0])
    new = fake.write(A, B)
    with following(used, folder, fake.api()) as live:
        eventually(lambda: live.state().hash == new and fake.requests[-1] == "watch")
        fake.refuse = 503
        fake.cut()
        eventually(lambda: "503" in str(live.state().error))
        time.sleep(0.3)
        assert live.state().hash == new, "the file is still the one from before"
        mount(folder, packed(B)[0])
        eventually(lambda: live.state().hash == packed(B)[1])
        assert live.state().source == "mount"


def test_only_a_folder(used: Used, tmp_path: Path) -> None:
    with following(used, tmp_path / "config", None) as live:
        live.wait(5, Stop())
        assert live.state() == state.ConfigState(None, (), "mount", None)
        mount(tmp_path / "config", packed(A)[0])
        eventually(lambda: live.state().hash == packed(A)[1])
        (tmp_path / "config" / KEY).unlink()
        eventually(lambda: "gone" in str(live.state().error))
        assert used.names == ["user-activity"]


def test_one_bad_manifest_leaves_its_last_good_form_and_all_others(fake: FakeKubernetes, used: Used) -> None:
    fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: used.names == ["user-activity"])
        bad = json.loads(json.dumps(A))
        bad["spec"]["features"][0]["aggregate"] = "no such thing"
        fake.write(bad, B, {"metadata": {"name": "x"}}, "nonsense")
        eventually(lambda: used.names == ["user-activity", "card-activity"])
        assert used.all[-1][0] is used.all[0][0]
        told = live.state()
        assert told.hash is None, "not all of it is in use"
        assert told.featuresets == ("team-a/user-activity", "team-b/card-activity")
        for part in (
            "team-a/user-activity: spec.features[0].aggregate",
            "default/x: ",
            "featuresets[3]: is not a manif",
        ):
            assert part in str(told.error)
        good = fake.write(A, B)
        eventually(lambda: live.state().hash == good and not live.state().error)


def test_one_that_stands_twice_is_told() -> None:
    taken, wrong = Entries("team").take([A, A])
    assert (len(taken), wrong) == (1, ["team-a/user-activity: stands twice; the first is used"])


def test_a_name_that_cannot_be_shown_is_not() -> None:
    (sentence,) = Entries("team").take([{"metadata": {"name": "\x1b[2J"}}])[1]
    assert sentence.startswith("team/�[2J: metadata.name")


def test_two_of_one_name_and_what_the_service_refuses(fake: FakeKubernetes, used: Used) -> None:
    used.refuse = {"user-orders": "shares no topic"}
    fake.write(A, manifest(ACTIVITY, "team-z"), manifest(ORDERS))
    with following(used, None, fake.api()) as live:
        eventually(lambda: bool(used.all))
        eventually(lambda: bool(live.state().error))
        assert live.state().featuresets == ("team-a/user-activity",)
        assert "team-z/user-activity: team-a/user-activity has the same name" in str(live.state().error)
        assert "user-orders: shares no topic" in str(live.state().error)


@pytest.mark.filterwarnings("default")
def test_our_own_mistake_ends_nothing(fake: FakeKubernetes, used: Used) -> None:
    old = fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: live.state().hash == old)
        used.broken = True
        fake.write(B)
        eventually(lambda: "unexpected condition" in str(live.state().error))
        assert live.state().hash == old
        used.broken = False
        fake.cut()
        eventually(lambda: live.state().hash == packed(B)[1])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no gzip", "is not gzip"),
        (packed(A)[0][:-9], "not one whole gzip file"),
        (packed(A)[0] + b"more", "not one whole gzip file"),
        (gzip.compress(b"\xff{", mtime=0), "does not hold JSON"),
        (gzip.compress(b"[" * 100_000, mtime=0), "does not hold JSON"),
        (gzip.compress(b"[]", mtime=0), "must hold"),
        (gzip.compress(b'{"featuresets": {}}', mtime=0), "must hold"),
        (gzip.compress(b" " * (MAX_BYTES + 1), mtime=0), "larger than 16 MiB when unpacked"),
        (b"x" * (MAX_PACKED_BYTES + 1), "larger than 2 MiB"),
    ],
)
def test_what_cannot_be_opened(content: bytes, told: str, fake: FakeKubernetes, used: Used) -> None:
    with pytest.raises(Unreadable, match=told):
        unpack(content)
    good = fake.write(A)
    with following(used, None, fake.api()) as live:
        eventually(lambda: live.state().hash == good)
        fake.write_bytes(content)
        eventually(lambda: told in str(live.state().error))
        assert (live.state().hash, len(used.all)) == (good, 1)


def test_bombs_are_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    assert len(bomb) < MAX_PACKED_BYTES
    began = time.monotonic()
    with pytest.raises(Unreadable):
        unpack(bomb)
    assert time.monotonic() - began < 2


def test_strange_answers_of_the_api(fake: FakeKubernetes, used: Used) -> None:
    fake.write(A)
    with following(used, None, fake.api()) as live:
        for line in (
            {"type": "MODIFIED"},
            {"type": "MODIFIED", "object": {"metadata": {}}},
            {"type": "ERROR", "object": {}},
        ):
            eventually(lambda: fake.requests[-1:] == ["watch"] and not live.state().error)
            count = len(fake.requests)
            fake.send(line)
            eventually(lambda count=count: len(fake.requests) > count)  # type: ignore[misc]
        assert used.names == ["user-activity"]
        assert len(used.all) == 1


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.runtime.live.kubernetes._ANSWER_SECONDS", 0.2)
    with fake_kubernetes(tmp_path / "account", started=False) as fake:
        began = time.monotonic()
        with pytest.raises((OSError, ApiError)):
            fake.api().look()
        assert time.monotonic() - began < 2


def test_closing_ends_an_open_watch(fake: FakeKubernetes, used: Used) -> None:
    fake.write(A)
    before = threading.active_count()
    with following(used, None, fake.api()):
        eventually(lambda: fake.requests == ["list", "watch"])
        began = time.monotonic()
    assert time.monotonic() - began < 0.9
    fake.cut()
    eventually(lambda: threading.active_count() <= before)


def test_the_admin_port_tells_the_state() -> None:
    told = state.ConfigState("0123456789abcdef", ("a/b",), "watch", None)
    server = state.serve("127.0.0.1", 0, lambda: told)
    try:
        url = f"http://127.0.0.1:{server.port}"
        assert httpx.get(url + "/config").json() == {
            "hash": "0123456789abcdef",
            "featuresets": ["a/b"],
            "source": "watch",
            "error": None,
        }
        assert httpx.get(url + "/").status_code == 404
    finally:
        server.shutdown()
