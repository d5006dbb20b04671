"""The request's context: bounded, frozen, and silent about secrets."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from agent_backend.context import PageContext, User, read_locale, read_page
from tests.agent_backend.world import context_for


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"title": "T", "url": "u", "path": "/p"}, PageContext(title="T", url="u", path="/p")),
        ({"headings": ["a", 7, "b"]}, PageContext(headings=("a", "b"))),
        ({"title": 7, "selection": "s"}, PageContext(selection="s")),
        ({"title": ""}, None),
        ({"other": "x"}, None),
        ({}, None),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_only_texts_of_a_page_are_kept(page: Any, expected: PageContext | None) -> None:
    """A page may send anything; what is no text is left out."""
    assert read_page({"pageContext": page}) == expected


def test_a_page_is_cut_to_its_limit() -> None:
    """A megabyte of selection costs the model a few hundred words, and no character is halved."""
    page = read_page({"pageContext": {"title": "Title", "selection": "é" * 1_000_000}}, max_bytes=100)

    assert page is not None
    assert page.title == "Title"
    assert page.selection == "é" * 47


def test_many_headings_are_a_few() -> None:
    """A list of ten thousand headings is cut by number, too."""
    page = read_page({"pageContext": {"headings": ["h"] * 10_000}})

    assert page is not None
    assert len(page.headings) == 50


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [({"gateway": {"locale": "de"}}, "de"), ({"gateway": {"locale": 7}}, None), ({"gateway": "x"}, None), ({}, None)],
)
def test_the_locale_is_the_gateways(metadata: dict[str, Any], expected: str | None) -> None:
    """The gateway settles on a locale; anything else is none."""
    assert read_locale(metadata) == expected


def test_a_context_cannot_be_changed() -> None:
    """Nobody below the endpoint can become somebody else."""
    context = context_for("alice")

    with pytest.raises(FrozenInstanceError):
        context.user = context_for("root").user  # type: ignore[misc]  # that is the point


def test_a_users_digest_names_nobody() -> None:
    """Logs show a short name that differs between issuers and holds neither."""
    digests = {User(id="alice", issuer=issuer).digest for issuer in ("https://a.test", "https://b.test")}

    assert len(digests) == 2
    assert all(len(digest) == 12 for digest in digests)
