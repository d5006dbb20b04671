"""The manifests: valid, hardened, of one mind about names, ports and times. `test_running` runs their containers."""

import shutil
import subprocess
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # it has no marker
import pytest
import yaml

from agent_backend.settings_file import load_settings as load_backend_settings
from gateway.settings import load_settings
from gateway.settings.model import Settings
from tests.deploy import pods
from tests.deploy.files import KUBERNETES, MARGIN, Json, backend_end, gateway_end, toml

FOLDERS = [KUBERNETES / "sidecar", KUBERNETES / "gateway"]
# The oldest that has what the manifests use (a preStop that sleeps), and the newest that the package knows.
VERSIONS = ["1.30", str(kubernetes_validate.latest_version())]


def deployments() -> list[tuple[Path, Json]]:
    return [(folder, entry) for folder in FOLDERS for entry in pods.of_kind(folder, "Deployment")]


DEPLOYMENTS = [pytest.param(*entry, id=f"{entry[0].name}-{entry[1]['metadata']['name']}") for entry in deployments()]
CONTAINERS = [
    pytest.param(folder, entry, container, id=f"{folder.name}-{container['name']}")
    for folder, entry in deployments()
    for container in pods.containers(pods.pod_of(entry))
]


def gateway_settings(folder: Path, monkeypatch: pytest.MonkeyPatch, key: Path) -> Settings:
    key.touch()
    monkeypatch.setenv("GATEWAY_TRUST__SIGNING_KEYS", f'["{key}"]')
    return load_settings(folder / "gateway.toml")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_manifest_is_what_the_schema_says(folder: Path, version: str) -> None:
    """Strictly: a misspelled name would be dropped by the server in silence."""
    for manifest in pods.manifests(folder):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the folder; it is not installed here")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_changed_settings_file_is_a_rolling_restart(folder: Path) -> None:
    """Rendered, each ConfigMap is named after its content, and the pods name it so."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    rendered = list(yaml.safe_load_all(done.stdout))
    for manifest in rendered:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    maps = {entry["metadata"]["name"] for entry in rendered if entry["kind"] == "ConfigMap"}
    specs = [pods.pod_of(entry) for entry in rendered if entry["kind"] == "Deployment"]
    named = {volume["configMap"]["name"] for pod in specs for volume in pod["volumes"] if "configMap" in volume}

    assert named == maps
    assert maps.isdisjoint(pods.config_maps(folder))


@pytest.mark.parametrize(("folder", "deployment", "container"), CONTAINERS)
def test_containers_keep_the_restricted_standard(folder: Path, deployment: Json, container: Json) -> None:
    """Pod Security Standards, "restricted", which the namespace enforces; and a root that nothing writes to."""
    pod = pods.pod_of(deployment)
    (namespace,) = pods.of_kind(folder, "Namespace")

    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert namespace["metadata"]["name"] == pods.kustomization(folder)["namespace"]


@pytest.mark.parametrize(("folder", "deployment", "container"), CONTAINERS)
def test_secrets_are_files(folder: Path, deployment: Json, container: Json) -> None:
    """No secret is a variable, which child processes and crash reports would see; each file is for the group alone."""
    volumes = [volume["secret"] for volume in pods.pod_of(deployment)["volumes"] if "secret" in volume]
    how_to = (folder / "kustomization.yaml").read_text()

    assert all("valueFrom" not in entry for entry in container["env"])
    assert {volume["defaultMode"] for volume in volumes} == {0o440}
    assert all(f"create secret generic {volume['secretName']} " in how_to for volume in volumes)


@pytest.mark.parametrize(("folder", "deployment", "container"), CONTAINERS)
def test_containers_run_our_image_with_settings_that_are_mounted(
    folder: Path, deployment: Json, container: Json
) -> None:
    """The path in the command is one of a volume's, and the file in it one of the folder's."""
    secrets: pods.Secrets = {"chatkit-gateway": {}, "chatkit-backend": {}}
    program = pods.program(folder, pods.pod_of(deployment), container["name"], secrets)

    assert container["image"] == pods.kustomization(folder)["images"][0]["name"]
    assert program.command[-2] == "--settings"
    assert program.command[-1] in program.files


@pytest.mark.parametrize(("folder", "deployment"), DEPLOYMENTS)
def test_nobody_is_killed_while_he_drains(folder: Path, deployment: Json) -> None:
    """The pod's patience is above each container's sleep and drain; who accepts nothing after SIGTERM sleeps first."""
    pod = pods.pod_of(deployment)
    for container in pod["containers"]:
        settings = pods.settings_path(folder, container)
        end = gateway_end(settings) if container["name"] == "gateway" else backend_end(settings)
        assert pod["terminationGracePeriodSeconds"] >= sleep_of(container) + end + MARGIN
        assert sleep_of(container) >= (0 if container["name"] == "gateway" else 10)


def test_a_backend_outlives_the_gateway_beside_it() -> None:
    """It takes requests as long as the gateway does, and ends its answers later than the gateway its streams."""
    folder = KUBERNETES / "sidecar"
    gateway, backend = pods.pod_of(pods.of_kind(folder, "Deployment")[0])["containers"]

    assert sleep_of(backend) > toml(folder / "gateway.toml")["server"]["drain_delay"]
    assert sleep_of(backend) + backend_end(folder / "backend.toml") > gateway_end(folder / "gateway.toml")
    assert sleep_of(gateway) == 0


def test_a_gateway_is_seen_to_be_unready_before_it_stops_accepting() -> None:
    """The probe's own delay is below drain_delay, so that no request meets a closed port."""
    for folder in FOLDERS:
        running = [entry for pod in pods.of_kind(folder, "Deployment") for entry in pods.pod_of(pod)["containers"]]
        (probe,) = [entry["readinessProbe"] for entry in running if entry["name"] == "gateway"]
        longest = probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"])

        assert longest < toml(folder / "gateway.toml")["server"]["drain_delay"]


@pytest.mark.parametrize(("folder", "deployment"), DEPLOYMENTS)
def test_a_rollout_and_a_drained_node_leave_somebody_who_answers(folder: Path, deployment: Json) -> None:
    """Several replicas, none missing in a rollout, one at a time when nodes are drained, not all on one node."""
    spec = deployment["spec"]
    labels = spec["template"]["metadata"]["labels"]
    budgets = [entry["spec"] for entry in pods.of_kind(folder, "PodDisruptionBudget")]
    (spread,) = pods.pod_of(deployment)["topologySpreadConstraints"]

    assert spec["replicas"] > 1
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert [budget["maxUnavailable"] for budget in budgets if budget["selector"]["matchLabels"] == labels] == [1]
    assert spec["selector"]["matchLabels"] == spread["labelSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_services_and_policies_lead_to_pods_that_are_there(folder: Path) -> None:
    """Selectors match a pod's labels, and ports are named as its containers name them."""
    ports = {
        entry["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: {
            port["name"] for container in pods.pod_of(entry)["containers"] for port in container.get("ports", [])
        }
        for entry in pods.of_kind(folder, "Deployment")
    }
    for service in pods.of_kind(folder, "Service"):
        named = {port["targetPort"] for port in service["spec"]["ports"]}
        assert named <= ports[service["spec"]["selector"]["app.kubernetes.io/name"]]
    policies = pods.of_kind(folder, "NetworkPolicy")
    assert {entry["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for entry in policies} == set(ports)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_is_open_that_is_not_said(folder: Path) -> None:
    """Every policy closes both directions; a way in names who comes, and at which port: one of them is the metrics'."""
    for policy in pods.of_kind(folder, "NetworkPolicy"):
        rules = policy["spec"]["ingress"]
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["from"] for rule in rules)
        assert [rule["ports"] for rule in rules if rule["ports"] != [{"port": "http"}]] in ([], [[{"port": "metrics"}]])


def test_the_backend_of_a_sidecar_is_on_loopback() -> None:
    """No port, no address but the pod's own loopback; the only way to it is the gateway."""
    folder = KUBERNETES / "sidecar"
    gateway, backend = pods.pod_of(pods.of_kind(folder, "Deployment")[0])["containers"]
    settings = load_backend_settings(folder / "backend.toml")

    assert settings.server.host == "127.0.0.1"
    assert "ports" not in backend
    assert all("exec" in backend[probe] for probe in ("startupProbe", "livenessProbe", "readinessProbe"))
    assert {port["name"]: port["containerPort"] for port in gateway["ports"]} == {"http": 8080, "metrics": 9090}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_ports_are_those_of_the_settings(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a container says it listens on is what its settings make it listen on."""
    gateway = gateway_settings(folder, monkeypatch, tmp_path / "signing.pem")
    backend = load_backend_settings(folder / "backend.toml")
    expected = {
        ("gateway", "http"): gateway.server.port,
        ("gateway", "metrics"): gateway.metrics.port,
        ("backend", "http"): backend.server.port,
    }
    for entry in pods.of_kind(folder, "Deployment"):
        for container in pods.pod_of(entry)["containers"]:
            for port in container.get("ports", []):
                assert port["containerPort"] == expected[container["name"], port["name"]]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_backend_trusts_this_gateway(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and audience are the same on both sides."""
    gateway = gateway_settings(folder, monkeypatch, tmp_path / "signing.pem")
    backend = load_backend_settings(folder / "backend.toml")

    assert (backend.gateway.issuer, backend.gateway.audience) == (gateway.trust.issuer, "support")


def sleep_of(container: Json) -> float:
    """Seconds that a container's preStop holds SIGTERM back."""
    return float(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
