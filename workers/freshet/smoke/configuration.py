"""2: is the FeatureSet served that should be, and are all its partitions worked on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freshet.smoke.report import Check, NotChecked, absent, failed, passed, skipped
from freshet.smoke.state import Run


def checks(run: Run) -> Iterator[Check]:
    """The FeatureSet, its manifest, its partitions as serving sees them, its processors as they see themselves."""
    run.catalogue()
    if run.empty():
        yield absent("FeatureSet", "no FeatureSet is applied yet: kubectl apply -f FILE, or freshet dev FILE")
        return
    details = run.details()
    others = len(run.catalogue()) - 1
    more = f"; {others} more served, --featureset NAME looks at another" if others else ""
    sentence = f"{details['name']} version {details.get('version')} revision {details['revision']}"
    yield passed("FeatureSet", f"{sentence}, {len(details['features'])} features{more}")
    yield _manifest(run, details)
    yield _partitions(run, details)
    yield from _processors(run)


def _manifest(run: Run, details: dict[str, Any]) -> Check:
    name = "manifest"
    given = [one for one in run.given if one.name == details["name"]]
    if not given:
        return skipped(name, "none of this FeatureSet is given: --manifest FILE compares it with what is served")
    if run.definition() is not None:
        return passed(name, "what is served is what the manifest says")
    sentence = f"the manifest means revision {given[0].definition.revision}, served is {details['revision']}"
    return failed(name, sentence, "apply the manifest and wait until it is served, or give the one that was applied")


def _partitions(run: Run, details: dict[str, Any]) -> Check:
    name = "partitions"
    total = details["source"]["partitions"]
    ready = run.serving.get("/ready").json()
    if not isinstance(ready, dict) or ready.get("store") != "ok":
        raise NotChecked("serving does not tell of partitions while its store does not answer (see 9)")
    missing = (ready.get("incomplete_partitions") or {}).get(details["name"], [])
    if not missing:
        return passed(name, f"all {total} are complete")
    advice = "wait until a processor has caught up; if it stays so, see the log and GET /ready of its processors"
    return failed(name, f"{len(missing)} of {total} are not complete: {str(missing)[:80]}", advice)


def _processors(run: Run) -> Iterator[Check]:
    """What processors say on their metrics ports."""
    seen = 0
    for client in run.metrics:
        if client.url in run.down:
            continue
        told = client.get("/ready").json()
        for name, details in _services(told).items():
            if details.get("featureset") != run.name():
                continue
            seen += 1
            stopped, problem = details.get("stopped"), details.get("problem")
            what = f"{name}: partitions {details.get('partitions')}"
            if stopped or problem:
                advice = "the reason is in the sentence; more is in the processor's log"
                yield failed("processor", f"{name}: {problem or 'stopped partitions ' + str(stopped)[:200]}", advice)
            elif not details.get("partitions"):
                yield passed("processor", f"{name}: ready, with no partition: others have all")
            else:
                rebuilding = details.get("rebuilding")
                yield passed("processor", what + (f", rebuilding {rebuilding}" if rebuilding else ""))
    if not seen:
        yield skipped("processor", "no metrics port of a processor of it is given: --metrics URL, once for each")


def _services(told: object) -> dict[str, dict[str, Any]]:
    """Service → what it says: one processor's own answer, or the common page of `freshet dev`."""
    if not isinstance(told, dict):
        return {}
    services = told.get("services")
    found = services if isinstance(services, dict) else {"processor": told}
    return {name: details for name, details in found.items() if isinstance(details, dict)}
