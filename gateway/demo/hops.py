"""What the gateway and the backend logged about one request: a line for each, made of their own figures.

Rules: nothing here is measured or guessed; a figure that a process did not log is left out. Pure but for reading the
log files.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]


def find_record(log: Path, request_id: str) -> Record | None:
    """The JSON line that a process wrote when it had answered this request; None if there is none."""
    found = [record for record in read_records(log) if record.get("request_id") == request_id and "status" in record]
    return found[-1] if found else None


def read_records(log: Path) -> Iterator[Record]:
    """The lines of a log that are JSON objects; a traceback's are not."""
    for line in log.read_text("utf-8", errors="replace").splitlines():
        if not line.startswith("{"):
            continue
        try:
            yield json.loads(line)
        except ValueError:
            continue


def gateway_line(record: Record, user: Record) -> str:
    """``user`` is what `/session` answered, since a log names nobody; the rest is the gateway's access log."""
    first_byte = record.get("first_byte_ms")
    return f"gateway: user={user['name']} ({user.get('email')}) " + figures(
        {
            "operation": record.get("operation"),
            "first_byte": None if first_byte is None else f"{first_byte:.1f} ms",
            "status": record.get("status"),
        }
    )


def backend_line(record: Record) -> str:
    """The backend's access log: the thread it wrote to, and how many items its model was given."""
    return "backend: " + figures(
        {"thread": record.get("thread_id"), "items": record.get("items"), "status": record.get("status")}
    )


def figures(values: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
