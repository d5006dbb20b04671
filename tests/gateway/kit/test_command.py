"""`gateway kit`, by itself and on the command line. That a browser accepts what it prints: tests/browser."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.kit.command import copy_kit, describe_kit, policy
from gateway.kit.files import FILES, SCRIPT, integrity_of, read_file

ORIGIN = "https://chat.example.com"


def test_what_to_paste_into_a_page() -> None:
    """URL, hash, an import map that pins it, and a policy that allows just that map."""
    text = describe_kit(ORIGIN)
    integrity = integrity_of(read_file(SCRIPT))
    url = f"{ORIGIN}/kit/1.0.0/gateway-kit.js"
    (import_map,) = re.findall(r'<script type="importmap">(.*)</script>', text)
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()

    assert text.splitlines()[:2] == [f"script     {url}", f"integrity  {integrity}"]
    assert json.loads(import_map) == {"imports": {"gateway-kit": url}, "integrity": {url: integrity}}
    assert f'src="{url}" integrity="{integrity}" crossorigin="anonymous"' in text
    assert f"'sha256-{digest}'" in text


@pytest.mark.parametrize(("origin", "ours"), [(ORIGIN, f" {ORIGIN}"), ("", "")])
def test_a_strict_policy(origin: str, ours: str) -> None:
    """Nothing but the page's own, the gateway and ChatKit; no `unsafe` anything; on one origin no second name."""
    text = policy(origin, "{}")

    assert text.startswith(f"default-src 'none'; script-src 'self'{ours} https://cdn.platform.openai.com 'sha256-")
    assert f"; connect-src 'self'{ours}; " in text
    assert "unsafe" not in text
    assert "*" not in text


def test_a_copy_for_a_bundler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All three files, over a former version; other files stay."""
    folder = tmp_path / "src" / "kit"
    folder.mkdir(parents=True)
    (folder / SCRIPT).write_text("old")
    (folder / "mine.ts").write_text("mine")

    assert main(["kit", "--copy", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / name) for name in FILES]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        **{name: read_file(name) for name in FILES},
        "mine.ts": b"mine",
    }


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    """`gateway kit --copy src/kit` in a new project."""
    assert copy_kit(tmp_path / "a" / "b") == [tmp_path / "a" / "b" / name for name in FILES]


def test_a_place_that_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong, and what to do."""
    (tmp_path / "file").write_text("")

    assert main(["kit", "--copy", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == (
        f"gateway: cannot copy to {tmp_path / 'file'}: File exists; name a folder you may write to\n"
    )


def test_it_needs_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Front-end developers have none; without an origin the paths are the page's own."""
    assert main(["kit"]) == 0
    assert capsys.readouterr().out == describe_kit("")
    assert main(["kit", "--url", ORIGIN]) == 0
    assert capsys.readouterr().out == describe_kit(ORIGIN)


@pytest.mark.parametrize("url", [f"{ORIGIN}/", "chat.example.com", "*"])
def test_an_origin_is_an_origin(capsys: pytest.CaptureFixture[str], url: str) -> None:
    """A policy with a path, or without a scheme, would allow nothing or too much."""
    with pytest.raises(SystemExit) as caught:
        main(["kit", "--url", url])

    assert caught.value.code == 2
    assert f"argument --url: '{url}' must be" in capsys.readouterr().err
