"""The cluster as a user has it: kubectl, port-forwards, and waiting for what should come."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

Object = dict[str, Any]
Found = TypeVar("Found")

_NOT_FOUND = "(NotFound)"
_EVENTS = "get events --sort-by=.lastTimestamp"
_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Refused(Exception):
    """kubectl or helm ended with an error; the text is what it said."""


def run(*command: str, given: str | None = None, seconds: float = 120) -> str:
    """Standard output of a command. Raises Refused with its standard error."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def until(look: Callable[[], Found], seconds: float, what: str, every: float = 0.25) -> Found:
    """Looks until it sees something true and returns that; fails after this time."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {found!r}")
        time.sleep(every)


class Kubectl:
    """kubectl with the KUBECONFIG of the environment, so that every way to log in works."""

    def __init__(self) -> None:
        self.program = shutil.which("kubectl") or "kubectl"

    def __call__(self, *arguments: str, given: str | None = None, seconds: float = 120) -> str:
        """Its standard output. Raises Refused."""
        return run(self.program, *arguments, given=given, seconds=seconds)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object; None: there is none."""
        try:
            found: Object = json.loads(self("-n", namespace, "get", kind, name, "-o", "json"))
        except Refused as error:
            if _NOT_FOUND in str(error):
                return None
            raise
        return found

    def find(self, kind: str, namespace: str, name: str) -> Object:
        """The object, which must exist."""
        found = self.get(kind, namespace, name)
        assert found is not None, f"there is no {kind} {namespace}/{name}"
        return found

    def all(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """The objects of a kind."""
        found: list[Object] = json.loads(self("-n", namespace, "get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def apply(self, item: Object) -> str:
        """`kubectl apply` of one object."""
        return self("apply", "-f", "-", given=json.dumps(item))

    def patch(self, kind: str, namespace: str, name: str, change: Object | list[Object]) -> None:
        """A merge patch (an object) or a JSON patch (a list)."""
        form = "json" if isinstance(change, list) else "merge"
        self("-n", namespace, "patch", kind, name, "--type", form, "-p", json.dumps(change))

    def delete(self, kind: str, namespace: str, name: str, *options: str, seconds: float = 180) -> None:
        """Deletes it, if it is there, and waits until it is gone unless told otherwise."""
        self("-n", namespace, "delete", kind, name, "--ignore-not-found", *options, seconds=seconds)

    def kill(self, namespace: str, pod: str) -> None:
        """SIGKILL, and no goodbye."""
        self.delete("pod", namespace, pod, "--grace-period=0", "--force", "--wait=false")

    def running(self, namespace: str, selector: str) -> list[str]:
        """Names of the pods that are ready and not about to end."""
        return sorted(p["metadata"]["name"] for p in self.all("pods", namespace, selector) if is_ready(p))

    def condition(self, namespace: str, name: str, type: str, kind: str = "featureset") -> Object:
        """A condition in the status; empty: there is none, or no such object."""
        found = self.get(kind, namespace, name) or {}
        conditions = (found.get("status") or {}).get("conditions") or ()
        return next((c for c in conditions if c["type"] == type), {})

    def wait_condition(
        self, namespace: str, name: str, type: str, status: str, reason: str = "", seconds: float = 90
    ) -> Object:
        """Waits until the FeatureSet's condition has this status and, if given, this reason; returns it."""
        last: Object = {}

        def there() -> bool:
            nonlocal last
            last = self.condition(namespace, name, type)
            return last.get("status") == status and reason in ("", last.get("reason"))

        try:
            until(there, seconds, f"{type}={status} {reason}")
        except AssertionError as error:
            raise AssertionError(f"{namespace}/{name}: {error}; it is {last}") from None
        return last


def is_ready(pod: Object) -> bool:
    """Whether the pod works and is not about to end."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    good = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return good and "deletionTimestamp" not in pod["metadata"]


class Door:
    """A service of the cluster on a port of this machine, by `kubectl port-forward`; opened again when it breaks."""

    def __init__(self, kubectl: Kubectl, namespace: str, service: str, port: int) -> None:
        self._command = [kubectl.program, "-n", namespace, "port-forward", f"svc/{service}", f":{port}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._http = httpx.Client(timeout=30, trust_env=False)

    def request(self, method: str, path: str, json: Any = None, seconds: float = 60) -> httpx.Response:
        """One answer; connections that break are tried again for this time, as a client with retries would."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self._http.request(method, self.open() + path, json=json)
            except (httpx.TransportError, Refused):
                self.close_forward()
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def open(self) -> str:
        """The URL on this machine. Raises Refused if there is nobody to forward to."""
        if self._process is not None and self._process.poll() is None:
            return self._url
        # A file, not a pipe: kubectl writes a line for each connection, and nobody would read them.
        with tempfile.NamedTemporaryFile(suffix=".forward") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)
            end = time.monotonic() + 15
            while time.monotonic() < end and self._process.poll() is None:
                found = _FORWARDED.search(Path(output.name).read_text())
                if found:
                    self._url = f"http://127.0.0.1:{found.group(1)}"
                    return self._url
                time.sleep(0.05)
            said = Path(output.name).read_text()
        self.close_forward()
        raise Refused(f"{' '.join(self._command)}: {said}")

    def close_forward(self) -> None:
        """Ends the port-forward; the next request opens another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends everything."""
        self.close_forward()
        self._http.close()


@contextlib.contextmanager
def door(kubectl: Kubectl, namespace: str, service: str, port: int) -> Iterator[Door]:
    """A Door that is closed at the end."""
    made = Door(kubectl, namespace, service, port)
    try:
        yield made
    finally:
        made.close()


def dump(kubectl: Kubectl, folder: Path, namespaces: list[str], operator: str) -> None:
    """Writes what somebody needs who was not there: objects, conditions, events and logs."""
    folder.mkdir(parents=True, exist_ok=True)
    looks = {"nodes": ["describe", "nodes"]}
    for namespace in namespaces:
        here = ["-n", namespace]
        kinds = "fs,exp,deploy,sts,rs,pods,jobs,cm,pdb,netpol,sa,controllerrevisions,leases,pvc"
        looks[f"{namespace}.objects"] = [*here, "get", kinds, "-o", "wide"]
        looks[f"{namespace}.featuresets"] = [*here, "describe", "featuresets"]
        looks[f"{namespace}.pods"] = [*here, "describe", "pods"]
        looks[f"{namespace}.events"] = [*here, "get", "events", "--sort-by=.lastTimestamp"]
        for part in ("freshet", "freshet-processor"):
            selector = f"app.kubernetes.io/name={part}"
            tail = ["--tail=400", "--prefix", "--timestamps", "--max-log-requests=20"]
            looks[f"{namespace}.{part}.log"] = [*here, "logs", "-l", selector, *tail]
    looks["operator.previous.log"] = ["-n", operator, "logs", "deploy/freshet-operator", "--previous", "--tail=200"]
    for name, command in looks.items():
        try:
            text = kubectl(*command, seconds=30)
        except (Refused, subprocess.TimeoutExpired) as error:
            text = f"cannot be had: {error}\n"
        (folder / f"{name}.txt").write_text(text)


def glance(kubectl: Kubectl, namespaces: list[str]) -> str:
    """How FeatureSets and pods are, and the last events: a page, for those who have only the log."""
    text = []
    for namespace in namespaces:
        for command, lines in (("get fs -o wide", 20), ("get pods -o wide", 40), (_EVENTS, 25)):
            text.append(f"$ kubectl -n {namespace} {command}")
            try:
                said = kubectl("-n", namespace, *command.split(), seconds=30)
            except (Refused, subprocess.TimeoutExpired) as error:
                said = f"cannot be had: {error}"
            text += said.splitlines()[-lines:]
    return "\n".join(text)
