"""Links that carry their own permission."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from itsdangerous import URLSafeTimedSerializer

from agent_backend.attachments.links import Links
from agent_backend.attachments.refusals import LinkRefused
from agent_backend.context import Owner
from agent_backend.problems import NotFound
from gateway.auth.signed_urls import UrlSigner

KEY = "a-secret-of-at-least-32-characters"
OLD_KEY = "an-older-secret-of-32-characters!!"
ALICE = Owner(issuer="https://login.test", subject="alice", tenant="acme")
ID = "atc_1"


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def links(clock: Clock | None = None, **changes: Any) -> Links:
    given = {"public_url": "https://chat.test/attachments", "keys": [OLD_KEY, KEY], "clock": clock or Clock()}
    return Links(**{**given, **changes})


def query_of(url: str) -> str:
    return urlsplit(url).query


@pytest.mark.parametrize("owner", [ALICE, Owner(issuer="https://login.test", subject="alice")])
def test_the_gateway_understands_what_we_sign(owner: Owner) -> None:
    """The true checker on the other side: method, path, owner with and without tenant."""
    clock = Clock()
    gateway = UrlSigner(keys=[KEY], max_minutes=60, clock=clock)
    made = links(clock)

    for method, url in [
        ("PUT", made.upload(ID, owner)),
        ("GET", made.download(ID, owner)),
        ("HEAD", made.preview(ID, owner)),
    ]:
        parts = urlsplit(url)
        identity = gateway.read(method, parts.path.encode(), parts.query.encode(), frozenset({owner.issuer}))
        assert (identity.issuer, identity.subject, identity.tenant or "") == (owner.issuer, owner.subject, owner.tenant)


def test_a_link_is_good_for_what_it_was_signed_for() -> None:
    """And HEAD goes where GET may."""
    made = links()

    made.check("PUT", ID, "content", query_of(made.upload(ID, ALICE)), ALICE)
    made.check("GET", ID, "content", query_of(made.download(ID, ALICE)), ALICE)
    made.check("HEAD", ID, "preview", query_of(made.preview(ID, ALICE)), ALICE)


@pytest.mark.parametrize(
    ("method", "attachment_id", "what"),
    [("PUT", ID, "content"), ("GET", "atc_2", "content"), ("GET", ID, "preview"), ("DELETE", ID, "content")],
)
def test_a_link_is_good_for_nothing_else(method: str, attachment_id: str, what: Any) -> None:
    """Not for another method, attachment or use."""
    made = links()

    with pytest.raises(LinkRefused):
        made.check(method, attachment_id, what, query_of(made.download(ID, ALICE)), ALICE)


@pytest.mark.parametrize(
    "change",
    [{"issuer": "https://other.test"}, {"subject": "mallory"}, {"tenant": "other"}, {"tenant": ""}],
)
def test_a_link_in_other_hands_is_not_found(change: dict[str, str]) -> None:
    """The asserted owner must be the signed one, in all three parts; who is not learns nothing."""
    other = Owner(**{"issuer": ALICE.issuer, "subject": ALICE.subject, "tenant": ALICE.tenant, **change})

    with pytest.raises(NotFound):
        links().check("GET", ID, "content", query_of(links().download(ID, ALICE)), other)


def test_a_link_ends() -> None:
    """After its minutes, to the second; and one from the future is refused."""
    clock = Clock()
    made = links(clock, view_minutes=5)
    query = query_of(made.download(ID, ALICE))

    clock.now += 5 * 60 - 1
    made.check("GET", ID, "content", query, ALICE)
    clock.now += 1
    with pytest.raises(LinkRefused):
        made.check("GET", ID, "content", query, ALICE)
    clock.now -= 5 * 60 + 60
    with pytest.raises(LinkRefused):
        made.check("GET", ID, "content", query, ALICE)


def test_keys_rotate() -> None:
    """The last signs, all are accepted, and a key that was taken out opens nothing any more."""
    before, during, after = links(keys=[OLD_KEY]), links(keys=[OLD_KEY, KEY]), links(keys=[KEY])
    old, new = query_of(before.download(ID, ALICE)), query_of(during.download(ID, ALICE))

    during.check("GET", ID, "content", old, ALICE)
    after.check("GET", ID, "content", new, ALICE)
    with pytest.raises(LinkRefused):
        after.check("GET", ID, "content", old, ALICE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda query: "",
        lambda query: query[:-1],
        lambda query: query.replace("signature=", "signature=x"),
        lambda query: f"{query}&{query}",
        lambda query: f"{query}&w=200",
        lambda query: "signature=" + "x" * 5000,
        lambda query: "signature=" + URLSafeTimedSerializer(KEY, salt="another").dumps({"method": "GET"}),
    ],
)
def test_an_altered_link_is_refused(spoil: Any) -> None:
    """None, cut, changed, twice, with more behind it, too long, for another purpose."""
    made = links()

    with pytest.raises(LinkRefused):
        made.check("GET", ID, "content", spoil(query_of(made.download(ID, ALICE))), ALICE)
