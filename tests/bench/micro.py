"""What each step of a request costs: ``python -m tests.bench.micro``. Medians of several rounds, in microseconds.

One process, no sockets; ratios between rows travel between machines, the figures do not.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from gateway.auth.claim_map import ClaimMap
from gateway.auth.claims import ClaimRules
from gateway.auth.credentials import CredentialRule, find_credential
from gateway.auth.key_fetch import KeyDocument
from gateway.auth.key_source import KeySource, KeyTimes
from gateway.auth.verifier import TrustedIssuer, Verifier
from gateway.chatkit import bodies
from gateway.chatkit.frames import EventSplitter
from gateway.chatkit.operations import OPERATIONS
from gateway.identity import Credential
from gateway.trust.assertions import AssertionMint
from gateway.trust.signing_keys import generate_signing_key
from tests.support.issuer import Issuer, signing_key

ROUNDS = 9
TIMES = 300


def median(step: Callable[[], object]) -> float:
    """Microseconds per call."""
    return statistics.median(_round(step) for _ in range(ROUNDS))


def _round(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(TIMES):
        step()
    return (time.perf_counter() - start) / TIMES * 1e6


def build_verifier(issuer: Issuer, *, cache_size: int) -> Verifier:
    async def fetch() -> KeyDocument:
        return KeyDocument(content=json.dumps(issuer.jwks(), separators=(",", ":")).encode(), max_age=None)

    rules = ClaimRules(
        issuer=issuer.issuer,
        audiences=frozenset({issuer.audience}),
        algorithms=frozenset({"RS256", "ES256"}),
        leeway=30,
        claim_map=ClaimMap(),
    )
    keys = KeySource(issuer=issuer.issuer, fetch=fetch, algorithms=("RS256", "ES256"), times=KeyTimes())
    return Verifier(issuers=[TrustedIssuer(rules=rules, keys=keys)], cache_size=cache_size)


def run(step: Coroutine[object, None, object]) -> None:
    """Drive a coroutine that never waits."""
    try:
        step.send(None)
    except StopIteration:
        return
    raise RuntimeError("the step waits: it cannot be timed like this")


def verify(verifier: Verifier, credentials: Sequence[Credential], accepted: frozenset[str]) -> None:
    for credential in credentials:
        run(verifier.verify(credential, accepted))


async def prepare(verifier: Verifier, credential: Credential, accepted: frozenset[str]) -> None:
    await verifier.verify(credential, accepted)


def main() -> None:
    issuer = Issuer(keys=[signing_key("RS256", kid="r"), signing_key("ES256", kid="e")])
    accepted = frozenset({issuer.issuer})
    token = issuer.token().encode()
    rows: list[tuple[str, float]] = []
    headers = [(b"accept", b"*/*"), (b"cookie", b"a=b; auth_token=" + token + b"; theme=dark")]
    rule = CredentialRule(cookie=b"auth_token", bearer=True, max_token=16384)
    rows.append(("credential from the cookie", median(lambda: find_credential(headers, rule))))

    cached, forgetful = build_verifier(issuer, cache_size=100), build_verifier(issuer, cache_size=1)
    for key in issuer.keys:
        # A cache of one entry and two tokens in turn: every look-up misses.
        two = [Credential(token=issuer.token(name, key=key).encode(), source="cookie") for name in ("alice", "bob")]
        for verifier in (cached, forgetful):
            asyncio.run(prepare(verifier, two[0], accepted))
        rows.append((f"verify {key.algorithm}, cached", median(partial(verify, cached, two[:1], accepted))))
        rows.append((f"verify {key.algorithm}, not cached", median(partial(verify, forgetful, two, accepted)) / 2))
    allowed = frozenset(OPERATIONS)
    identity = asyncio.run(cached.verify(Credential(token=token, source="cookie"), accepted))
    for size in (300, 4000):
        body = _body(size)
        read = bodies.read_body(body, allowed)
        rows.append((f"read body, {len(body)} B", median(partial(bodies.read_body, body, allowed))))
        enrich = partial(bodies.enrich, read, identity, request_id="r" * 32, locale="en", max_metadata=32768)
        rows.append((f"enrich body, {len(body)} B", median(enrich)))
    mint = AssertionMint(issuer="https://chat.test", key=generate_signing_key(), lifetime=30)
    body = _body(300)

    def sign() -> None:
        mint.mint(identity, audience="support", request_id="r" * 32, method="POST", path=b"/chatkit", body=body)

    rows.append(("sign assertion (ES256)", median(sign)))
    events = EventSplitter(65536)
    event = b'data: {"type":"thread.item.updated","item_id":"msg_1","update":{"delta":"word "}}\n\n'
    rows.append(("split one event", median(lambda: events.feed(event))))
    for name, cost in rows:
        print(f"{name:32} {cost:8.1f} us")


def _body(size: int) -> bytes:
    message = {"content": [{"type": "input_text", "text": "x" * size}], "attachments": [], "inference_options": {}}
    metadata = {"pageContext": {"url": "https://app.example.com/orders", "title": "Orders"}}
    return json.dumps(
        {"type": "threads.create", "params": {"input": message}, "metadata": metadata}, separators=(",", ":")
    ).encode()


if __name__ == "__main__":
    main()
