"""A plan as objects of Kubernetes: a ConfigMap with the study, Jobs, and the service that agents find the run by."""

import base64
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from tuner import __version__
from tuner.manifests.asked import INDEX
from tuner.manifests.files import HOME, secret_in
from tuner.manifests.names import ManifestError, key_of
from tuner.manifests.plan import HERE, MASTER_PORT, USER, Plan, Role

RUNS = "/paretune/runs"
ENDED = (4, 5)
"""Exit codes of a run that is done all the same: nothing met the SLO, or it is not decided."""
TRIES = 3
_AGENT_TRIES = 20
"""An agent ends when it finds no run, and the run may be the last to get a node."""
_GRACE_S = 60
_INDEX = "batch.kubernetes.io/job-completion-index"
_APP = "app.kubernetes.io/"
_Object = dict[str, Any]


def objects(plan: Plan) -> list[_Object]:
    """Return the objects of a plan, in the order in which they are needed.

    Raises:
        ManifestError: a file of the ConfigMap has a secret in it.
    """
    found = [_config_map(plan)]
    if any(role.component == "agent" for role in plan.roles):
        found.append(_service(plan))
    return [*found, *(_job(plan, role) for role in plan.roles)]


def labels(plan: Plan, component: str) -> _Object:
    """Return what every object of a study is found by, in the names that Kubernetes recommends."""
    return {
        **_selector(plan, component),
        f"{_APP}version": __version__.replace("+", "-"),
        f"{_APP}part-of": "paretune",
        f"{_APP}managed-by": "tune-manifests",
    }


def _selector(plan: Plan, component: str) -> _Object:
    return {f"{_APP}name": "paretune", f"{_APP}instance": plan.name, f"{_APP}component": component}


def _metadata(plan: Plan, name: str, component: str) -> _Object:
    where = {} if plan.namespace is None else {"namespace": plan.namespace}
    return {"name": f"{plan.name}-{name}", **where, "labels": labels(plan, component)}


def _keys(plan: Plan) -> dict[PurePosixPath, str]:
    """Return the place of each file of the ConfigMap -> its key."""
    taken: set[str] = set()
    return {place: key_of(str(place).removeprefix(f"{HOME}/"), taken) for place, _ in plan.files.contents()}


def _config_map(plan: Plan) -> _Object:
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    keys = _keys(plan)
    for place, content in plan.files.contents():
        text = _as_text(content)
        if text is not None and secret_in(place, text):
            raise ManifestError(
                f"{place.relative_to(HOME) if place.is_relative_to(HOME) else place}: has a password or a key, by the "
                "name of a setting, and every reader of a ConfigMap would see it: take it out; or keep the file "
                "elsewhere, for the image or the volume of --volume to have it"
            )
        if text is None:
            binary[keys[place]] = base64.b64encode(content).decode()
        else:
            texts[keys[place]] = text
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(plan, "study", "study"),
        "data": texts,
        **({"binaryData": binary} if binary else {}),
    }


def _as_text(content: bytes) -> str | None:
    """Return what a file says, None where it is no text that YAML has without a change."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if all(one.isprintable() or one in "\n\t" for one in text) else None


def _service(plan: Plan) -> _Object:
    """Return a headless service: the name of the run's own address, before the run is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan, "master", "run"),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _selector(plan, "run"),
            "ports": [{"name": "agents", "port": MASTER_PORT, "targetPort": "agents", "protocol": "TCP"}],
        },
    }


def _job(plan: Plan, role: Role) -> _Object:
    """Return the job of a role: each host has an index, and is tried again where another try may end otherwise."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(plan, role.component, role.component),
        "spec": {
            "completionMode": "Indexed",
            "completions": role.count,
            "parallelism": role.count,
            **(_tried_again(role) if role.studies else {"backoffLimit": _AGENT_TRIES * role.count}),
            "template": {"metadata": {"labels": labels(plan, role.component)}, "spec": _pod(plan, role)},
        },
    }


def _tried_again(role: Role) -> _Object:
    return {
        "backoffLimitPerIndex": TRIES,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailIndex",
                    "onExitCodes": {"containerName": role.component, "operator": "In", "values": list(ENDED)},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
    }


def _pod(plan: Plan, role: Role) -> _Object:
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "restartPolicy": "Never" if role.studies else "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": _apart(plan)},
        **({"tolerations": tolerations} if role.resources.gpus else {}),
        "containers": [_container(plan, role)],
        "volumes": _volumes(plan, role),
    }


def _apart(plan: Plan) -> _Object:
    """Ask for a node of its own for each pod of a study: they would measure each other."""
    mine = {key: value for key, value in _selector(plan, "").items() if value}
    term = {"labelSelector": {"matchLabels": mine}, "topologyKey": "kubernetes.io/hostname"}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}


def _container(plan: Plan, role: Role) -> _Object:
    ports = [{"name": "agents", "containerPort": MASTER_PORT, "protocol": "TCP"}]
    return {
        "name": role.component,
        "image": plan.image,
        "command": ["tune"],
        "args": _arguments(role),
        "workingDir": "/paretune",
        "env": _environment(plan, role),
        **({"ports": ports} if role.component == "run" else {}),
        "resources": _resources(role),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(plan, role),
    }


def _arguments(role: Role) -> list[str]:
    """Return the arguments of a role's containers; the number of each is all that Kubernetes puts into them."""
    literal = [word.replace("$(", "$$(") for word in (*role.arguments, *role.each)]
    own = [word.replace(INDEX, "$(HOST_INDEX)") for word in literal[len(role.arguments) :]]
    return [*literal[: len(role.arguments)], *own]


def _resources(role: Role) -> _Object:
    """Return requests that are the limits, CPUs whole: a guaranteed pod, which the kubelet can give CPUs of its own."""
    asked = role.resources
    given: Mapping[str, str] = {
        "cpu": str(asked.cpus),
        "memory": asked.memory,
        **({"nvidia.com/gpu": str(asked.gpus)} if asked.gpus else {}),
    }
    return {"requests": dict(given), "limits": dict(given)}


def _environment(plan: Plan, role: Role) -> list[_Object]:
    index = {"fieldRef": {"fieldPath": f"metadata.labels['{_INDEX}']"}}
    secrets = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": plan.secret, "key": name}}} for name in role.secrets
    ]
    here = [{"name": name, "value": value} for name, value in HERE.items()]
    return [*here, {"name": "HOST_INDEX", "valueFrom": index}, *secrets]


def _mounts(plan: Plan, role: Role) -> list[_Object]:
    found: list[_Object] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - a volume of the pod's own
    if not role.studies:
        return found
    found.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - as above
    runs: _Object = {"name": "runs", "mountPath": RUNS}
    if plan.results is not None:
        runs["subPathExpr"] = f"{plan.name}/{role.component}-$(HOST_INDEX)"
    found.append(runs)
    for place, key in _keys(plan).items():  # each by itself: other mounts may stand beside it in the same folder
        found.append({"name": "study", "mountPath": str(place), "subPath": key, "readOnly": True})
    found += [
        {"name": "certificates", "mountPath": str(file), "subPath": file.name, "readOnly": True}
        for file in plan.certificates
    ]
    if plan.storage and plan.storage.folder:
        found.append({"name": "trials", "mountPath": str(plan.storage.folder)})
    if plan.mounted is not None:
        return [*found, {"name": "files", "mountPath": str(plan.mounted), "readOnly": True}]
    for one in filter(plan.in_volume, plan.files.elsewhere):
        inner = str(one.place.relative_to(HOME))
        found.append({"name": "files", "mountPath": str(one.place), "subPath": inner, "readOnly": True})
    return found


def _volumes(plan: Plan, role: Role) -> list[_Object]:
    found: list[_Object] = [{"name": "tmp", "emptyDir": {}}]
    if not role.studies:
        return found
    claim = plan.results
    found.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}})
    found.append({"name": "runs", **({"emptyDir": {}} if claim is None else _of_claim(claim))})
    found.append({"name": "study", "configMap": {"name": f"{plan.name}-study"}})
    if plan.certificates:  # the client takes a key that root lets a group read, and none that others may
        found.append({"name": "certificates", "secret": {"secretName": plan.certified, "defaultMode": 0o440}})
    if plan.storage and plan.storage.claim:
        found.append({"name": "trials", **_of_claim(plan.storage.claim)})
    if plan.volume is not None and (plan.mounted is not None or any(map(plan.in_volume, plan.files.elsewhere))):
        found.append({"name": "files", **_of_claim(plan.volume, read_only=True)})
    return found


def _of_claim(name: str, *, read_only: bool = False) -> _Object:
    return {"persistentVolumeClaim": {"claimName": name, **({"readOnly": True} if read_only else {})}}
