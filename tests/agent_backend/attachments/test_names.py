"""File names: cleaned, and in headers."""

import pytest

from agent_backend.attachments.names import MAX_NAME, as_download, clean_name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Übersicht.xlsx", "Übersicht.xlsx"),
        ("folder/", "folder"),
        ("..", "attachment"),
        ("", "attachment"),
        ("a\r\nSet-Cookie: x=1.txt", "aSet-Cookie: x=1.txt"),
        ("a\x00b\x7f.txt", "ab.txt"),
        ("\ud800half.txt", "half.txt"),
        ("gpj\u202e.exe", "gpj.exe"),
        ("x" * 300 + ".pdf", "x" * (MAX_NAME - 4) + ".pdf"),
        ("x" * 300, "x" * MAX_NAME),
        ("." + "x" * 300, "x" * MAX_NAME),
    ],
)
def test_a_name_is_words_and_no_path(name: str, cleaned: str) -> None:
    """No folder, no control character (not even one that turns the reading direction), no half character."""
    assert clean_name(name) == cleaned


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.txt", "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"),
        ('q"u\\o%te.txt', "attachment; filename=\"q_u_o_te.txt\"; filename*=UTF-8''q%22u%5Co%25te.txt"),
        ("naïve 世.txt", "attachment; filename=\"na_ve _.txt\"; filename*=UTF-8''na%C3%AFve%20%E4%B8%96.txt"),
    ],
)
def test_a_name_breaks_no_header(name: str, header: str) -> None:
    """ASCII for old clients, RFC 8187 for the others; always saved, never shown."""
    assert as_download(name) == header
