"""The audit of a running gateway: a line for each refusal, however little else is logged."""

import asyncio
import signal
from pathlib import Path

from tests.faults.operating import log_lines, said, scripted
from tests.faults.test_reload import edit
from tests.faults.watched import ask, watched

QUIET = "[log]\nlevel = 'error'\nsample_successes = 0"


async def test_each_refusal_has_a_line_and_nothing_else_does(tmp_path: Path) -> None:
    """No token, a bad one, another site, a limit: the reason, the route, the address; of the user a digest once it is
    known. Successes and what the client did wrong otherwise are no refusals."""
    with watched(tmp_path, server=QUIET) as (gateway, _):
        async with scripted(gateway.backend_port, "same"):
            listing = gateway.request("json", operation="threads.list")
            head, _, rest = listing.partition(b"Authorization: ")
            anonymous = head + rest.partition(b"\r\n")[2]
            tight = listing.replace(b"/chatkit?", b"/tight?")
            preflight = b"OPTIONS /chatkit HTTP/1.1\r\nhost: a\r\norigin: https://evil.test\r\n" + (
                b"access-control-request-method: POST\r\n\r\n"
            )
            requests = {
                "served": listing,
                "anonymous": anonymous,
                "forged": listing.replace(gateway.token.encode(), gateway.token[:-8].encode() + b"AAAAAAAA"),
                "elsewhere": preflight,
                "first": tight,
                "limited": tight,
                "nowhere": b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n",
            }
            ids = {}
            for name, request in requests.items():
                ids[(await ask(gateway, request)).request_id] = name
            gateway.process.terminate()
            status = await asyncio.to_thread(gateway.process.wait, 10)
    # It has stopped by itself: nothing is lost, and nothing will come.
    lines = log_lines(gateway.log, "refused")
    others = log_lines(gateway.log, "request")

    assert (status, others) == (0, [])
    assert {line["logger"] for line in lines} == {"gateway.audit"}
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert [(ids[line["request_id"]], line["code"], line["route"]) for line in lines] == [
        ("anonymous", "credential_missing", "support"),
        ("forged", "token_invalid", "support"),
        ("elsewhere", "cross_site_request", "support"),
        ("limited", "rate_limited", "tight"),
    ]
    assert [line.get("issuer") for line in lines] == [None, "https://login.test", None, "https://login.test"]
    assert [len(line.get("user", "")) for line in lines] == [0, 0, 0, 16]
    assert gateway.token not in gateway.log.read_text()


async def test_how_many_successes_are_logged_can_be_changed_under_way(tmp_path: Path) -> None:
    """From the next request on."""
    with watched(tmp_path, server="[log]\nsample_successes = 0") as (gateway, _):
        async with scripted(gateway.backend_port, "same"):
            listing = gateway.request("json", operation="threads.list")
            await ask(gateway, listing)
            edit(tmp_path, lambda text: text.replace("sample_successes = 0", "sample_successes = 1"))
            gateway.process.send_signal(signal.SIGHUP)
            await said(gateway, "settings reloaded")
            after = (await ask(gateway, listing)).request_id
            await said(gateway, "request")

    assert [line["request_id"] for line in log_lines(gateway.log, "request")] == [after]
