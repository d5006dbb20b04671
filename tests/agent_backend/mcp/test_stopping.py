"""MCP brings sse_starlette, which replaces how any uvicorn in the process stops. The backend stops as it did."""

import signal
from collections.abc import Iterator

import pytest
import uvicorn
from sse_starlette.sse import AppStatus

from agent_backend.app import build_app
from agent_backend.serving import Server
from tests.agent_backend.world import World


@pytest.fixture
def status() -> Iterator[type[AppStatus]]:
    """sse_starlette's own flag, which ends every stream of its kind in the process, for good."""
    AppStatus.should_exit = False
    yield AppStatus
    AppStatus.should_exit = False


def test_uvicorns_own_stop_is_replaced_and_ours_is_not(world: World, status: type[AppStatus]) -> None:
    """A plain uvicorn server that is stopped sets the flag; ours stops, and leaves the flag alone."""
    config = uvicorn.Config(build_app(world.settings()), log_config=None)
    ours = Server(config, world.settings())

    ours.handle_exit(signal.SIGTERM, None)

    assert ours.should_exit
    assert not status.should_exit
    plain = uvicorn.Server(config)
    plain.handle_exit(signal.SIGTERM, None)
    assert status.should_exit, "sse_starlette does not replace handle_exit any more: this test can go"
