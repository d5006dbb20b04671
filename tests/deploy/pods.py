"""A folder of manifests as programs: the containers of its pods, with the files and secrets that are mounted there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.files import Json, document, documents
from tests.deploy.machine import Machine, Program

Secrets = Mapping[str, Mapping[str, str]]


def manifests(folder: Path) -> list[Json]:
    """All documents that the folder's kustomization lists."""
    return [manifest for name in kustomization(folder)["resources"] for manifest in documents(folder / name)]


def kustomization(folder: Path) -> Json:
    return document(folder / "kustomization.yaml")


def of_kind(folder: Path, kind: str) -> list[Json]:
    return [manifest for manifest in manifests(folder) if manifest["kind"] == kind]


def pod_of(deployment: Json) -> Json:
    pod: Json = deployment["spec"]["template"]["spec"]
    return pod


def containers(pod: Json) -> list[Json]:
    """Those that run before, and those that stay."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def config_maps(folder: Path) -> dict[str, dict[str, str]]:
    """Each ConfigMap's files, by name; the kustomization makes them of files beside it."""
    return {
        entry["name"]: {name: (folder / name).read_text() for name in entry["files"]}
        for entry in kustomization(folder)["configMapGenerator"]
    }


def settings_path(folder: Path, container: Json) -> Path:
    """The file that a container's ``--settings`` names, where it is here."""
    return folder / Path(container["args"][container["args"].index("--settings") + 1]).name


def program(folder: Path, pod: Json, name: str, secrets: Secrets) -> Program:
    """A container of a pod, with these texts as its secrets."""
    container = next(entry for entry in containers(pod) if entry["name"] == name)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    files: dict[str, str] = {}
    for mount in container["volumeMounts"]:
        texts = texts_of(volumes[mount["name"]], config_maps(folder), secrets)
        files |= {f"{mount['mountPath']}/{file}": text for file, text in texts.items()}
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    return Program(name=name, command=container["args"], environment=environment, files=files)


def texts_of(volume: Json, maps: Mapping[str, Mapping[str, str]], secrets: Secrets) -> Mapping[str, str]:
    if "configMap" in volume:
        return maps[volume["configMap"]["name"]]
    return secrets[volume["secret"]["secretName"]] if "secret" in volume else {}


def is_ready(pod: Json, name: str, machine: Machine) -> bool:
    """What the kubelet finds out: by a request from outside, or a command inside."""
    container = next(entry for entry in pod["containers"] if entry["name"] == name)
    return passes(container["readinessProbe"], container, machine)


def passes(probe: Mapping[str, Any], container: Json, machine: Machine) -> bool:
    if "exec" in probe:
        return machine.passes(probe["exec"]["command"])
    port = probe["httpGet"]["port"]
    (number,) = [entry["containerPort"] for entry in container["ports"] if entry["name"] == port]
    return machine.answers(probe["httpGet"]["path"], port=str(number))
