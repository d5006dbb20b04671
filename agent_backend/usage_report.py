"""What `agent_backend usage` prints: tokens by user or by thread, as a table or as JSON lines.

Rules: a user is shown as they are stored (issuer, subject, tenant), because an operator looks for somebody; and in
JSON, where nothing can break a line. Control characters cannot be in any of the three: `assertion` refuses them.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

from agent_backend.store.usage import By, SqlUsage, Total

Form = Literal["table", "json"]


def parse_since(text: str, *, now: datetime) -> date:
    """A day as ``2026-11-01``, or a number of days back as ``30d``. Raises ValueError."""
    if text.endswith("d") and text[:-1].isdecimal():
        return (now - timedelta(days=int(text[:-1]))).date()
    return date.fromisoformat(text)


async def report(usage: SqlUsage, *, by: By, since: date | None, form: Form) -> str:
    """The whole text, without its last line break."""
    totals = await usage.totals(by=by, since=since)
    lines = [json.dumps(fields_of(total)) for total in totals] if form == "json" else table(totals, by=by)
    return "\n".join(lines)


def fields_of(total: Total) -> dict[str, object]:
    thread = {} if total.thread_id is None else {"thread_id": total.thread_id}
    return {
        "issuer": total.owner.issuer,
        "subject": total.owner.subject,
        "tenant": total.owner.tenant,
        **thread,
        "answers": total.answers,
        "partial": total.partial,
        "requests": total.requests,
        "tokens_in": total.tokens_in,
        "tokens_out": total.tokens_out,
    }


def table(totals: Sequence[Total], *, by: By) -> Iterator[str]:
    """Columns as wide as their widest value; numbers to the right."""
    names = ["issuer", "subject", "tenant", *(["thread_id"] if by == "thread" else [])]
    names += ["answers", "partial", "requests", "tokens_in", "tokens_out"]
    rows = [names, *([str(fields_of(total)[name]) for name in names] for total in totals)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(names))]
    words = len(names) - 5
    for row in rows:
        cells = [
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
