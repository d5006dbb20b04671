"""How much of a window a text takes: guessed high."""

import pytest

from agent_backend.tokens import CUT, cut_middle, cut_to, estimate


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("", 0),
        ("abc", 1),
        ("abcd", 2),
        ("語", 1),
        ("🙂", 2),
        ({"type": "message", "role": "user", "content": "abc"}, 5),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "abc"}]}, 9),
        ({"type": "input_image", "image_url": "data:" + "A" * 9_000_000}, 1500),
        ({"type": "input_file", "file_data": "A" * 30_000}, 1004),
        ([{"type": "function_call_output", "call_id": "abc", "output": "abc"}], 6),
        ({"n": 7}, 5),
    ],
)
def test_tokens_are_guessed_from_bytes(part: object, expected: int) -> None:
    """A third of the bytes, something for each message, a fixed price for a picture."""
    assert estimate(part) == expected


def test_a_text_is_cut_in_its_middle() -> None:
    """What it begins with and how it ends are kept, and a note says what is gone."""
    assert cut_middle("abcdef", 6) == "abcdef"
    assert cut_middle("abcdefghij", 4) == f"ab{CUT.format(6)}ij"
    assert cut_middle("abc", 0) == CUT.format(3)


@pytest.mark.parametrize("text", ["word " * 5000, "語" * 5000])
def test_a_message_is_cut_to_its_share(text: str) -> None:
    """Near the limit and never far above it, in any script; the picture in it stays whole."""
    image = {"type": "input_image", "image_url": "data:x"}
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}, image]}

    cut = cut_to(message, 2000)

    assert 1900 < estimate(cut) < 2050
    assert cut["content"][1] == image
    assert cut_to(message, 100_000) is message
