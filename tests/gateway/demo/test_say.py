"""One question without a browser: what is said of each hop. The whole way is in `tests/together/test_demo.py`."""

from pathlib import Path

import pytest

from gateway.chat.client import ChatFailed
from gateway.demo.say import hop_lines
from gateway.demo.state import State

ALICE = {"id": "alice", "name": "Alice Example", "email": "alice@example.test"}
GATEWAY = '{"request_id": "req-1", "status": 200, "operation": "threads.create", "first_byte_ms": 8.26, "user": "1f"}\n'
BACKEND = '{"request_id": "req-1", "status": 200, "thread_id": "thr_1", "items": 1}\n'


def test_every_hop_is_shown_with_what_it_logged(tmp_path: Path) -> None:
    """Both logs tell of the same request, by its id."""
    state = State(directory=tmp_path)
    state.log("gateway").write_text(GATEWAY)
    state.log("agent_backend").write_text(BACKEND)

    assert hop_lines(state, "req-1", ALICE).splitlines() == [
        "",
        "gateway: user=Alice Example (alice@example.test) operation=threads.create first_byte=8.3 ms status=200",
        "backend: thread=thr_1 items=1 status=200",
    ]


def test_a_hop_that_logged_nothing_is_a_failure(tmp_path: Path) -> None:
    """An answer that the backend knows nothing of is not shown as a success; what it did log is."""
    state = State(directory=tmp_path)
    state.log("gateway").write_text(GATEWAY)
    state.log("agent_backend").write_text(BACKEND.replace("req-1", "req-2"))

    with pytest.raises(
        ChatFailed, match=r"^agent_backend\.log has no line about request req-1\. Its end:\n\n  .*req-2"
    ):
        hop_lines(state, "req-1", ALICE)
