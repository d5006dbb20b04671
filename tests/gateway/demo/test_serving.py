"""The gateway with the demo page on top. That it serves is in `tests/together/test_demo.py`."""

from pathlib import Path

import pytest

from gateway.demo.serving import main


def test_settings_that_cannot_be_used_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and every problem, which the supervisor then shows as the end of the log."""
    settings = tmp_path / "gateway.toml"
    settings.write_text("[server]\nprot = 1\n")

    assert main(["--settings", str(settings), "--issuer", "http://127.0.0.1:8081"]) == 2
    assert "server.prot" in capsys.readouterr().err
