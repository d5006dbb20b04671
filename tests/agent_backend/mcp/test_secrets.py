"""A token does not come back from a server, whole or in pieces."""

import secrets

import pytest

from agent_backend.mcp.secrets import REMOVED, Scrubber

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl-of_alice"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("nothing to see", "nothing to see"),
        (TOKEN, REMOVED),
        (f"Bearer {TOKEN}!", f"Bearer {REMOVED}!"),
        (f"{TOKEN}{TOKEN}", f"{REMOVED}{REMOVED}"),
        (f"input_value='{TOKEN[:25]}...{TOKEN[-24:]}'", f"input_value='{REMOVED}...{REMOVED}'"),
        (f"starts with {TOKEN[:12]}", f"starts with {REMOVED}"),
        (f"signature {TOKEN[43:]}", f"signature {REMOVED}"),
        (f"eleven {TOKEN[:11]} are no secret", f"eleven {TOKEN[:11]} are no secret"),
    ],
)
def test_every_run_of_the_tokens_characters_goes(text: str, clean: str) -> None:
    """Errors echo what they were sent, and libraries shorten it."""
    assert Scrubber(TOKEN).text(text) == clean


def test_a_piece_is_found_wherever_it_stands() -> None:
    """At every place of the text, and from every place of the token."""
    for before in range(14):
        for start in range(len(TOKEN) - 12):
            text = "." * before + TOKEN[start : start + 12] + "|"
            assert TOKEN[start : start + 12] not in Scrubber(TOKEN).text(text), (before, start)


def test_a_token_with_repeats_is_found_whole() -> None:
    """The longest run counts, not the first that fits."""
    token = "abcabcabcabc" + "abcabcXYZXYZ"

    assert Scrubber(token).text(f"<{token}>") == f"<{REMOVED}>"


def test_a_value_is_scrubbed_in_depth() -> None:
    """Names as well as values; numbers and the like stay what they are."""
    value = {"list": [TOKEN, 1, None, True], TOKEN: {"deep": f"a {TOKEN}"}}

    assert Scrubber(TOKEN).value(value) == {"list": [REMOVED, 1, None, True], REMOVED: {"deep": f"a {REMOVED}"}}


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_nothing_changes(token: str | None) -> None:
    """There is nothing to look for."""
    assert Scrubber(token).value({"a": "b"}) == {"a": "b"}


def test_a_short_token_goes_as_a_whole() -> None:
    """Its pieces could be anything."""
    assert Scrubber("s3cret").text("s3cret s3c") == f"{REMOVED} s3c"


def test_random_text_is_left_alone() -> None:
    """A picture in base64 is not damaged."""
    text = secrets.token_urlsafe(100_000)

    assert Scrubber(secrets.token_urlsafe(700)).text(text) == text


def test_a_scrubber_does_not_tell() -> None:
    """It ends up in debuggers and logs."""
    assert TOKEN not in repr(Scrubber(TOKEN))
