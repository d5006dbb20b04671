"""No file of `deploy/` is left out: each is read by the tests of its kind."""

from tests.deploy.files import DEPLOY, shipped

KNOWN = {
    "test_image": {"Dockerfile", "Dockerfile.dockerignore"},
    "test_compose": {
        "compose/.env",
        "compose/.gitignore",
        "compose/backend.toml",
        "compose/compose.yaml",
        "compose/demo/gateway.toml",
        "compose/gateway.toml",
        "compose/secrets.sh",
    },
    "test_kubernetes": {
        *(
            f"kubernetes/{folder}/{name}"
            for folder in ("gateway", "sidecar")
            for name in ("kustomization.yaml", "namespace.yaml", "network.yaml", "gateway.toml", "backend.toml")
        ),
        "kubernetes/gateway/gateway.yaml",
        "kubernetes/gateway/backend.yaml",
        "kubernetes/sidecar/support.yaml",
    },
    "test_proxies": {"proxies/Caddyfile", "proxies/envoy.yaml", "proxies/nginx.conf"},
    "test_systemd": {
        "systemd/backend.toml",
        "systemd/chatkit-backend.service",
        "systemd/chatkit-gateway.service",
        "systemd/gateway.toml",
    },
}


def test_every_file_is_tested() -> None:
    """Whoever adds one adds its test; whoever removes one removes its line."""
    assert {path.relative_to(DEPLOY).as_posix() for path in shipped()} == set().union(*KNOWN.values())
