"""The effective settings as a settings file."""

import math
import tomllib
from pathlib import Path

import pytest

from gateway.check import show
from gateway.settings import load_settings
from tests.gateway.settings.files import SMALLEST, write

NASTY = 'a"b\\\\c\\nd\\u007fé😀'


@pytest.mark.parametrize(
    "more",
    [
        "",
        'forward_headers = ["x-app"]\nissuers = ["main"]\noperations = []\nheartbeat = 0.05\n',
        '[issuers.other]\nissuer = "' + NASTY.replace('"', '\\"') + '"\njwks_file = "k"\naudiences = ["a", "é"]\n'
        '[issuers.other.claims]\ntenant = "org.id"\n',
        '[log]\nformat = "console"\n[trust]\nissuer = "x"\nlifetime = 5\n',
    ],
)
def test_what_show_prints_loads_as_the_same_settings(tmp_path: Path, more: str) -> None:
    """It is a settings file: an operator can keep it, or compare two."""
    settings = load_settings(write(tmp_path, SMALLEST + more))
    shown = show(settings)

    assert math.isclose(tomllib.loads(shown)["routes"]["support"]["heartbeat"], settings.routes["support"].heartbeat)
    assert load_settings(write(tmp_path, shown)).model_dump() == settings.model_dump()
