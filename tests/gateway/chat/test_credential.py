"""Where a terminal's credential comes from."""

import io
from pathlib import Path

import httpx
import pytest

from gateway.chat.credential import (
    SecretProblem,
    Sources,
    cookie_header,
    find_credential,
    is_sent_readably,
    token_header,
)

URL = httpx.URL("https://chat.example.com/chatkit")
NOW = 1000.0


def find(tmp_path: Path, *, stdin: str = "", environment: dict[str, str] | None = None, **files: str) -> object:
    """What `find_credential` gives, with these files' texts; "-" stands for standard input."""
    names = {}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        names[name] = "-" if text == "-" else str(tmp_path / name)
    sources = Sources(**names)
    return find_credential(sources, environment=environment or {}, stdin=io.StringIO(stdin), url=URL)


def test_each_source_gives_its_header(tmp_path: Path) -> None:
    """A file, standard input, the environment; nothing is nothing."""
    bearer, cookie = {"authorization": "Bearer a.b.c"}, {"cookie": "auth_token=a.b.c"}

    assert find(tmp_path, token_file="a.b.c\n") == bearer
    assert find(tmp_path, token_file="-", stdin="Bearer a.b.c\n") == bearer
    assert find(tmp_path, environment={"CHAT_TOKEN": "a.b.c"}) == bearer
    assert find(tmp_path, cookie_file="auth_token=a.b.c\n") == cookie
    assert find(tmp_path, cookie_file="-", stdin="Cookie: auth_token=a.b.c") == cookie
    assert find(tmp_path, environment={"CHAT_COOKIE": "auth_token=a.b.c"}) == cookie
    assert find(tmp_path) == {}


def test_what_was_asked_for_goes_before_what_is_lying_around(tmp_path: Path) -> None:
    """A file on the command line, not the environment; two in the environment are a question, not a choice."""
    assert find(tmp_path, token_file="file", environment={"CHAT_TOKEN": "variable", "CHAT_COOKIE": "a=b"}) == {
        "authorization": "Bearer file"
    }
    with pytest.raises(SecretProblem, match=r"^CHAT_TOKEN and CHAT_COOKIE are both set: unset one$"):
        find(tmp_path, environment={"CHAT_TOKEN": "a", "CHAT_COOKIE": "a=b"})


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "a\x00b", "a\r\nx-user-id: root", "ä"])
def test_what_is_no_token_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    """The wrong file may hold another secret; and no line of it becomes a header."""
    with pytest.raises(SecretProblem) as caught:
        find(tmp_path, token_file=text)

    assert str(tmp_path) in str(caught.value)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no cookie", "a=b\nc=d", "a=b\r\nx-user-id: root", "=b", "a=b; c", "a=ä"])
def test_what_is_no_cookie_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    """The same for cookies."""
    with pytest.raises(SecretProblem) as caught:
        find(tmp_path, cookie_file=text)

    assert not text or text not in str(caught.value)


def test_a_file_that_is_not_there_or_far_too_long(tmp_path: Path) -> None:
    """Named, with the reason; a name that is rather a token is not repeated."""
    sources = Sources(token_file=str(tmp_path / "nothing"))
    with pytest.raises(SecretProblem, match="nothing: No such file or directory"):
        find_credential(sources, environment={}, stdin=io.StringIO(), url=URL)
    with pytest.raises(SecretProblem, match=r"^a file name of 200 characters: No such file or directory"):
        find_credential(Sources(token_file="a.b.c/" * 33 + "ab"), environment={}, stdin=io.StringIO(), url=URL)
    with pytest.raises(SecretProblem, match=r"^standard input: more than 100000 characters is no credential"):
        find(tmp_path, token_file="-", stdin="a" * 100_001)


@pytest.mark.parametrize("line", ["auth_token=a.b.c", "auth_token.0=a; auth_token.1=b", "a=b;c=d;", 'a="b"'])
def test_a_line_of_cookies_goes_as_it_is(line: str) -> None:
    """As copied from somewhere."""
    assert cookie_header(line, "x", url=URL) == {"cookie": line}


@pytest.mark.parametrize(
    ("row", "sent"),
    [
        ("chat.example.com FALSE / FALSE 0", True),
        ("#HttpOnly_chat.example.com FALSE / TRUE 1001", True),
        ("#HttpOnly_.example.com TRUE / FALSE 0", True),
        ("CHAT.example.com FALSE /chatkit FALSE 0", True),
        ("example.com FALSE / FALSE 0", False),
        (".ample.com TRUE / FALSE 0", False),
        ("evil.test FALSE / FALSE 0", False),
        ("chat.example.com FALSE /chat FALSE 0", False),
        ("chat.example.com FALSE / FALSE 999", False),
        ("chat.example.com FALSE / FALSE soon", False),
        ("# chat.example.com FALSE / FALSE 0", False),
    ],
)
def test_a_cookie_goes_where_it_was_made_for(row: str, sent: bool) -> None:
    """Its host, its subdomains only if it says so, its path, as long as it lasts; written as curl writes it."""
    text = "# Netscape HTTP Cookie File\n\n" + "\t".join([*row.rsplit(" ", 4), "auth_token", "a.b.c"]) + "\n"
    if sent:
        assert cookie_header(text, "jar", url=URL, clock=lambda: NOW) == {"cookie": "auth_token=a.b.c"}
    else:
        with pytest.raises(SecretProblem, match=r"^jar: no cookie in it is for chat\.example\.com/chatkit now"):
            cookie_header(text, "jar", url=URL, clock=lambda: NOW)


def test_all_cookies_of_a_jar_go_together() -> None:
    """Split ones belong together; a secure one never goes where it could be read, but this machine is safe."""
    row = "{}\tFALSE\t/\t{}\t0\t{}\tx\n"
    jar = (
        row.format("h.test", "FALSE", "a.0") + row.format("h.test", "FALSE", "a.1") + row.format("h.test", "TRUE", "s")
    )
    local = row.format("127.0.0.1", "TRUE", "s")

    assert cookie_header(jar, "jar", url=httpx.URL("https://h.test/chatkit")) == {"cookie": "a.0=x; a.1=x; s=x"}
    assert cookie_header(jar, "jar", url=httpx.URL("http://h.test/chatkit")) == {"cookie": "a.0=x; a.1=x"}
    assert cookie_header(local, "jar", url=httpx.URL("http://127.0.0.1:8080/chatkit")) == {"cookie": "s=x"}


def test_a_token_may_come_with_its_scheme() -> None:
    """As it is copied from a header."""
    assert token_header("Bearer abc==", "x") == token_header("abc==", "x")


@pytest.mark.parametrize(
    ("url", "readable"),
    [
        ("https://chat.example.com/", False),
        ("http://127.0.0.1:8080/", False),
        ("http://[::1]:8080/", False),
        ("http://localhost/", False),
        ("http://app.localhost/", False),
        ("http://gateway:8080/", True),
        ("http://10.0.0.1/", True),
        ("http://localhost.evil.test/", True),
    ],
)
def test_who_could_read_a_credential_on_its_way(url: str, readable: bool) -> None:
    """Only what leaves this machine unencrypted."""
    assert is_sent_readably(httpx.URL(url)) is readable
