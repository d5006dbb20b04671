"""The kit as the gateway serves it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.kit.files import FILES, kit_path, read_file
from tests.gateway.settings.files import SMALLEST
from tests.support.running import running_gateway

SETTINGS = SMALLEST.replace("port = 8080", "port = 0\ndrain_delay = 0")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_gateway(tmp_path_factory.mktemp("kit"), SETTINGS) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("name", FILES)
def test_a_file_may_be_kept_for_good_and_read_by_every_page(client: httpx.Client, name: str) -> None:
    """The same bytes for everybody; no cookie decides anything, so every origin may have them."""
    headers = {"origin": "https://anywhere.test", "cookie": "auth_token=eyJ.x.y"}
    answers = [client.request(method, kit_path(name), headers=headers) for method in ("GET", "HEAD")]
    expected = {
        "content-type": FILES[name],
        "content-length": str(len(read_file(name))),
        "cache-control": "public, max-age=31536000, immutable",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
        "x-content-type-options": "nosniff",
    }

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, read_file(name)), (200, b"")]
    for answer in answers:
        assert {header: answer.headers.get(header) for header in expected} == expected
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/kit/1.0.0/gateway-kit.js", 405, "method_not_allowed"),
        ("GET", "/kit/", 404, "route_not_found"),
        ("GET", "/kit/0.9.0/gateway-kit.js", 404, "route_not_found"),
        ("GET", "/kit/1.0.0/files.py", 404, "route_not_found"),
        ("GET", "/kit/1.0.0/%2e%2e/files.py", 400, "malformed_path"),
        ("GET", "/kit/1.0.0/gateway-kit.js/", 404, "route_not_found"),
    ],
)
def test_nothing_else_is_there(client: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    """Each file by its one name; a folder is no address."""
    answer = client.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_kit_can_be_left_out(tmp_path: Path) -> None:
    """For those who bundle their own copy."""
    settings = SETTINGS.replace("port = 0", "port = 0\nkit = false")
    with running_gateway(tmp_path, settings) as url:
        answer = httpx.get(f"{url}/kit/1.0.0/gateway-kit.js")

    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
