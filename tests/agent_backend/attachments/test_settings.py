"""The table `[attachments]`."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent_backend.attachments.limits import AttachmentLimits
from agent_backend.attachments.settings import AttachmentSettings
from tests.agent_backend.attachments.world import KEY, PUBLIC_URL


def settings(folder: Path, **changes: Any) -> AttachmentSettings:
    return AttachmentSettings(**{"directory": folder, "public_url": PUBLIC_URL, "url_keys": [KEY], **changes})


def test_off_until_a_directory_is_set() -> None:
    """With bounds that are the limits' own."""
    table = AttachmentSettings()

    assert table.directory is None
    assert table.limits == AttachmentLimits()


def test_what_is_set_goes_over_the_defaults(tmp_path: Path) -> None:
    """Each of them."""
    changed = AttachmentLimits(
        max_bytes=1,
        types=("image/png",),
        quota=2,
        max_pending=3,
        upload_timeout=4,
        pending_lifetime=65,
        unsent_lifetime=66,
        sweep_interval=7,
        max_pixels=8,
        preview_edge=19,
        model_edge=20,
        rendition_timeout=11,
        model_bytes=12,
        model_text=13,
        model_kinds=("text",),
    )

    table = settings(tmp_path / "files", **{name: getattr(changed, name) for name in AttachmentLimits.__slots__})

    assert table.limits == changed
    assert set(AttachmentLimits.__slots__) <= set(AttachmentSettings.model_fields)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"public_url": None}, "needs public_url"),
        ({"url_keys": []}, "needs url_keys"),
        ({"url_keys": ["short"]}, "at least 32"),
        ({"public_url": "https://chat.test"}, "needs the path"),
        ({"public_url": "chat.test/attachments"}, "write it as https"),
        ({"public_url": "https://chat.test/a?b=c"}, "write it as https"),
        ({"types": ["application/x-sh"]}, "cannot be told from its content"),
        ({"types": []}, "at least 1"),
        ({"path": "attachments"}, "pattern"),
        ({"max_byte": 1}, "Extra inputs"),
    ],
)
def test_half_of_it_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """With the fix; and no secret is repeated."""
    with pytest.raises(ValidationError, match=words):
        settings(tmp_path / "files", **changes)


def test_a_directory_is_made_but_its_parent_is_not(tmp_path: Path) -> None:
    """A misspelled mount point must not fill another disk."""
    (tmp_path / "file").write_text("in the way")

    assert settings(tmp_path / "files").directory == tmp_path / "files"
    for folder in (tmp_path / "nowhere" / "files", tmp_path / "file"):
        with pytest.raises(ValidationError, match="folder"):
            settings(folder)
