"""What may be typed."""

import argparse

import pytest

from gateway.chat.arguments import add_chat_arguments


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gateway chat")
    add_chat_arguments(parser)
    return parser.parse_args(arguments)


def test_the_shortest_line() -> None:
    """A URL and a question; the rest has its defaults."""
    assert vars(parse("--url", "https://chat.example.com", "Hello")) == {
        "text": "Hello",
        "url": "https://chat.example.com",
        "thread": "",
        "json": False,
        "quiet": False,
        "metadata": None,
        "token_file": None,
        "cookie_file": None,
        "origin": None,
        "ca_file": None,
        "connect_timeout": 10.0,
        "timeout": 60.0,
        "max_time": None,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required: --url"),
        (("--token-file", "a", "--cookie-file", "b"), "not allowed with argument --token-file"),
        (("--timeout", "0"), "0 is not a number of seconds above 0"),
        (("--timeout", "nan"), "nan is not a number of seconds above 0"),
        (("--max-time", "inf"), "inf is not a number of seconds above 0"),
        (("--max-time", "soon"), "invalid read_seconds value: 'soon'"),
        (("--metadata", "{"), "not JSON: "),
        (("--metadata", "[]"), "not a JSON object"),
        (("--metadata", '{"a": NaN}'), "not JSON: "),
        (("--metadata", '{"a": "\\ud800"}'), "not JSON: "),
        (("--origin", "app.example.com"), "'app.example.com' is no origin; it looks like https://app.example.com"),
        (("--origin", "https://app.example.com/"), "is no origin"),
        (("--origin", "https://a\r\nx: y"), "is no origin"),
        (("--token", "a.b.c"), "unrecognized arguments: --token"),
    ],
)
def test_mistakes_are_usage_errors(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    """2, with what is wrong."""
    url = ("--url", "https://chat.example.com", "Hello") if arguments else ()
    with pytest.raises(SystemExit) as caught:
        parse(*url, *arguments)

    assert caught.value.code == 2
    assert said in capsys.readouterr().err
