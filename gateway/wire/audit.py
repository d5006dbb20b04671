"""Who was refused, where and why: a line for each refusal, for whoever must be able to answer that later.

Rules: 401, 403 and 429 of the gateway's own, whatever form their answer has; never sampled, and written whatever the
log's level is; in the logger ``gateway.audit``, so that collectors can route it by that name. It holds no token, no
claim but the issuer's name, and of the user the same digest as every other line. A stream that is cut because its token
expired was not refused: its line in the access log says so.
"""

import logging
from typing import Final

from gateway.wire.record import RequestRecord

LOGGER: Final = "gateway.audit"

logger = logging.getLogger(LOGGER)

_REFUSALS: Final = frozenset({401, 403, 429})


def is_refusal(record: RequestRecord, ended_by: str) -> bool:
    """Did the gateway say no to whoever asked?"""
    failure = record.failure
    return failure is not None and failure.source == "client" and failure.status in _REFUSALS and ended_by != "token"


def write_refusal(record: RequestRecord) -> None:
    """The line. ``record`` is of a refusal; what is not known of it is left out."""
    failure = record.failure
    if failure is None:
        return
    fields = {
        "request_id": record.request_id,
        "trace_id": record.trace.trace_id if record.trace else None,
        "code": failure.code,
        "rule": getattr(failure, "rule", None),
        "route": record.route,
        "operation": record.operation,
        "issuer": record.issuer or failure.issuer,
        "user": record.user,
        "client": record.client,
    }
    logger.info("refused", extra={"fields": fields})
