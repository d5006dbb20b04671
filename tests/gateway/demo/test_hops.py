"""What the processes logged about one request."""

from pathlib import Path

from gateway.demo.hops import backend_line, find_record, gateway_line

ALICE = {"id": "alice", "name": "Alice Example", "email": "alice@example.test"}
LOG = """\
Traceback (most recent call last):
{not json
{"request_id": "a", "event": "something else"}
{"request_id": "a", "status": 200, "operation": "threads.create", "first_byte_ms": 12.345}
{"request_id": "b", "status": 404}
"""


def test_a_request_is_found_by_its_id(tmp_path: Path) -> None:
    """Among other requests, other events and lines that are no JSON at all."""
    log = tmp_path / "gateway.log"
    log.write_text(LOG)

    assert find_record(log, "b") == {"request_id": "b", "status": 404}
    assert find_record(log, "c") is None


def test_the_gateways_line_is_made_of_its_own_figures(tmp_path: Path) -> None:
    """Who, what, how fast, how it ended."""
    log = tmp_path / "gateway.log"
    log.write_text(LOG)
    record = find_record(log, "a")

    assert record is not None
    assert gateway_line(record, ALICE) == (
        "gateway: user=Alice Example (alice@example.test) operation=threads.create first_byte=12.3 ms status=200"
    )


def test_a_figure_nobody_logged_is_left_out() -> None:
    """Nothing is made up."""
    assert gateway_line({"status": 200}, ALICE) == "gateway: user=Alice Example (alice@example.test) status=200"
    assert backend_line({"thread_id": "thr_1", "status": 200}) == "backend: thread=thr_1 status=200"


def test_the_backends_line_says_where_it_went_and_what_the_model_got() -> None:
    """The thread, the number of items, the status; nothing about the user."""
    record = {"user": "1f", "thread_id": "thr_1", "items": 2, "status": 200, "duration": 0.5}

    assert backend_line(record) == "backend: thread=thr_1 items=2 status=200"
