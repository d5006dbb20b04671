"""Which declared content types a ChatKit body may have."""

import pytest

from gateway.chatkit.bodies import check_content_type
from gateway.errors import UnsupportedMediaType


@pytest.mark.parametrize(
    ("content_type", "coding"),
    [
        (b"application/json", None),
        (b"application/json", b"identity"),
        (b"Application/JSON", None),
        (b"application/json;charset=utf-8", None),
        (b"application/json; charset=UTF-8", None),
        (b'application/json ; charset="utf-8"', None),
        (b"application/json; charset=utf8", None),
        (b"application/json;", None),
    ],
)
def test_json_in_utf8_without_coding_is_taken(content_type: bytes, coding: bytes | None) -> None:
    """In the spellings that clients use."""
    check_content_type(content_type, coding)


@pytest.mark.parametrize(
    ("content_type", "coding"),
    [
        (None, None),
        (b"", None),
        (b"text/plain", None),
        (b"text/plain; application/json", None),
        (b"application/x-www-form-urlencoded", None),
        (b"multipart/form-data; boundary=application/json", None),
        (b"application/json, text/plain", None),
        (b"application/jsonp", None),
        (b"application/json\x00", None),
        (b"text/json", None),
        (b"application/json; charset=utf-16", None),
        (b"application/json; charset=utf-8; charset=utf-16", None),
        (b"application/json; charset=utf-7", None),
        (b"application/json; boundary=x", None),
        (b"application/json", b"gzip"),
        (b"application/json", b"br"),
        (b"application/json", b"gzip, identity"),
        (b"application/json", b""),
    ],
)
def test_anything_else_is_refused_before_it_is_read(content_type: bytes | None, coding: bytes | None) -> None:
    """What a foreign page may send without asking first, what would be read in another alphabet, and what inflates."""
    with pytest.raises(UnsupportedMediaType) as caught:
        check_content_type(content_type, coding)

    assert caught.value.status == 415
