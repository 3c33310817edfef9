"""How the processors are: what Kubernetes says of their Deployment and pods, as a reason and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from freshet_operator import names
from freshet_operator.model import Object, Work
from freshet_operator.plan.conditions import Verdict
from freshet_operator.plan.partitions import stopped_verdict
from freshet_operator.plan.times import time_ms

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_REKEY = "rekey"
"""Name of the container that copies events, where there is one."""
_CREATING_MS = 60_000
_RESTARTS = 2


def processor_pods(pods: Sequence[Object], revision: str | None = None, *, ending: bool = False) -> tuple[Object, ...]:
    """The processors of a revision, or of all, among a FeatureSet's pods, by name; those that are ending if asked."""

    def counts(pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        processor = labels.get("app.kubernetes.io/component", "processor") == "processor"
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        there = not ended and (ending or not pod["metadata"].get("deletionTimestamp"))
        return processor and there and revision in (None, labels.get(names.LABEL_REVISION))

    return tuple(sorted(filter(counts, pods), key=lambda pod: str(pod["metadata"]["name"])))


def available(deployment: Object | None) -> int:
    """Processors that work on all partitions they are given."""
    return int(((deployment or {}).get("status") or {}).get("availableReplicas") or 0)


def is_settled(deployment: Object | None) -> bool:
    """Whether the Deployment has done what was last asked of it."""
    if deployment is None:
        return False
    status, replicas = deployment.get("status") or {}, int(deployment["spec"].get("replicas", 1))
    seen = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    counts = (status.get("replicas"), status.get("updatedReplicas"), status.get("availableReplicas"))
    return seen and all(int(count or 0) == replicas for count in counts)


def processor_verdict(
    deployment: Object | None, pods: Sequence[Object], work: Mapping[str, Work], secret: str, now_ms: int
) -> Verdict:
    """The condition ProcessorReady. `pods`: the revision's; `secret`: the Secret that they need, if any."""
    if deployment is None:
        return Verdict("False", "NotReady", "the Deployment is being made")
    stopped = stopped_verdict(pods, work, now_ms)
    problem = _refused(deployment) or _of_pods(pods) or stopped or _stalled(deployment)
    wanted, there = int(deployment["spec"].get("replicas", 1)), available(deployment)
    if problem is not None:
        working = f"; meanwhile {there} of {wanted} processors work" if there else ""
        return replace(problem, message=problem.message + working)
    if wanted == 0:
        return Verdict("True", "Available", "no processor is asked for")
    if there >= 1:
        others = "" if there >= wanted else ", others start"
        return Verdict("True", "Available", f"{there} of {wanted} processors work{others}")
    waiting = _creating(pods, secret, now_ms) or _not_copied(pods)
    return Verdict("False", "NotReady", waiting or f"0 of {wanted} processors work yet")


def _refused(deployment: Object) -> Verdict | None:
    """The Deployment may not make pods."""
    failure = _condition(deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    message = str(failure.get("message", ""))
    if "exceeded quota" in message or "must specify" in message:
        return Verdict(
            "False",
            "QuotaExceeded",
            f"{message}; raise the namespace's ResourceQuota or lower spec.processor.maxReplicas or the resources",
        )
    return Verdict("False", "PodsRefused", f"{message}; the namespace must admit these pods")


def _stalled(deployment: Object) -> Verdict | None:
    progress = _condition(deployment, "Progressing")
    if progress.get("reason") != "ProgressDeadlineExceeded":
        return None
    message = f"no progress for 10 minutes; see `kubectl -n {_place(deployment)} describe deployment`"
    return Verdict("False", "Stalled", message)


def _of_pods(pods: Sequence[Object]) -> Verdict | None:
    """The problem of the first pod that has the most telling one."""
    for look in _LOOKS:
        for pod in pods:
            found = look(pod)
            if found is not None:
                return found
    return None


def _secret(pod: Object) -> Verdict | None:
    for waiting in _waiting(pod):
        message = str(waiting.get("message", ""))
        if waiting.get("reason") == "CreateContainerConfigError" and "secret" in message.lower():
            namespace = pod["metadata"]["namespace"]
            return Verdict(
                "False",
                "MissingSecret",
                f"{message}; make the Secret with this key in namespace {namespace}, the pods then start by themselves",
            )
    return None


def _config(pod: Object) -> Verdict | None:
    for waiting in _waiting(pod):
        if waiting.get("reason") in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            message = f"pod {pod['metadata']['name']}: {waiting.get('reason')}: {waiting.get('message', '')}"
            return Verdict("False", "ContainerConfig", message)
    return None


def _image(pod: Object) -> Verdict | None:
    for waiting in _waiting(pod):
        if waiting.get("reason") in _IMAGE:
            image = next((str(c.get("image", "")) for c in pod["spec"].get("containers") or ()), "")
            return Verdict(
                "False",
                "ImagePull",
                f"image {image} cannot be pulled ({pod['metadata']['name']}); check the chart's image settings and"
                " image pull secrets",
            )
    return None


def _crashing(pod: Object) -> Verdict | None:
    for one in _containers(pod):
        state, last = one.get("state") or {}, (one.get("lastState") or {}).get("terminated") or {}
        again = (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
        # Between two crashes it runs for a moment: the reason must not go and come back.
        often = not one.get("ready") and int(one.get("restartCount") or 0) >= _RESTARTS and last.get("exitCode")
        if again or often:
            ended = last or state.get("terminated") or {}
            how = f"exit code {ended.get('exitCode', 'unknown')}"
            if ended.get("reason") == "OOMKilled":
                how = "out of memory: give the processors a higher memory limit"
            place = f"{pod['metadata']['namespace']} logs {pod['metadata']['name']}"
            if one.get("name") == _REKEY:
                place += f" -c {_REKEY}"
            message = f"a processor ends again and again ({how}); see `kubectl -n {place} --previous`"
            return Verdict("False", "CrashLooping", message)
    return None


def _unschedulable(pod: Object) -> Verdict | None:
    found = _condition(pod, "PodScheduled")
    if found.get("status") == "False" and found.get("reason") == "Unschedulable":
        return Verdict(
            "False",
            "Unschedulable",
            f"no node takes pod {pod['metadata']['name']}: {found.get('message', '')}; add nodes, or lower the"
            " processors' requests or spec.processor.maxReplicas",
        )
    return None


_LOOKS: tuple[Callable[[Object], Verdict | None], ...] = (_secret, _image, _config, _crashing, _unschedulable)


def _creating(pods: Sequence[Object], secret: str, now_ms: int) -> str | None:
    """A pod that waits for a volume says nothing: a guess after a minute."""
    for pod in pods:
        made = time_ms(pod["metadata"].get("creationTimestamp"))
        creating = any(waiting.get("reason") == "ContainerCreating" for waiting in _waiting(pod))
        if creating and made is not None and now_ms - made > _CREATING_MS:
            hint = f" (does Secret {secret} exist there?)" if secret else ""
            place = f"-n {pod['metadata']['namespace']} describe pod {pod['metadata']['name']}"
            return f"a pod waits to be made{hint}; see `kubectl {place}`"
    return None


def _not_copied(pods: Sequence[Object]) -> str | None:
    """Processors that work and have nothing to work on: the stage beside them says why."""
    for pod in pods:
        ready = {
            one.get("name"): one.get("ready") for one in _containers(pod) if (one.get("state") or {}).get("running")
        }
        if ready.get("processor") and ready.get(_REKEY) is False:
            place = f"-n {pod['metadata']['namespace']} logs {pod['metadata']['name']} -c {_REKEY}"
            return f"events are not copied into the topic of the entity; `kubectl {place}` says why"
    return None


def _waiting(pod: Object) -> Iterator[Object]:
    for one in _containers(pod):
        waiting = (one.get("state") or {}).get("waiting")
        if waiting:
            yield waiting


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _condition(item: Object, type: str) -> Object:
    conditions = (item.get("status") or {}).get("conditions") or ()
    found: Object = next((one for one in conditions if one.get("type") == type), {})
    return found


def _place(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))
