"""Kit, hook and example under `tsc --strict`, with the types that OpenAI publishes; nothing is skipped."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.attack.processes import ROOT
from tests.browser.nextjs import KIT, node_environment, run

# Beyond what the example itself asks for: the kit's own declarations are read too, and nothing in it is unused.
CAREFUL = {
    "extends": "./tsconfig.json",
    "compilerOptions": {
        "skipLibCheck": False,
        "noImplicitReturns": True,
        "noUnusedLocals": True,
        "incremental": False,
        "types": ["node"],
    },
}


@pytest.fixture(scope="module")
def project(nextjs_example: Path) -> Path:
    """The example, and beside it a file with every use of the kit that is allowed, and some that are not."""
    shutil.copytree(ROOT / "tests/browser/types", nextjs_example / "types", dirs_exist_ok=True)
    (nextjs_example / "tsconfig.careful.json").write_text(json.dumps(CAREFUL))
    # The declarations that Next.js writes for the page's style sheets, which a build would write.
    run("node_modules/.bin/next", "typegen", cwd=nextjs_example)
    return nextjs_example


def check_types(project: Path) -> subprocess.CompletedProcess[str]:
    command = ["node_modules/.bin/tsc", "--project", "tsconfig.careful.json"]
    return subprocess.run(
        command, cwd=project, env=node_environment(), capture_output=True, text=True, check=False, timeout=120
    )


def test_kit_hook_and_example_pass_the_strict_check(project: Path) -> None:
    """Right uses are none of its business, and each wrong one is an error."""
    result = check_types(project)

    assert (result.returncode, result.stdout) == (0, "")


def test_the_check_can_fail(project: Path) -> None:
    """With ChatKit's real types in place: an option that it does not have is found, in the file that has it."""
    wrong = project / "wrong.ts"
    wrong.write_text('export const wrong: import("@openai/chatkit").ChatKitOptions = { api: { url: 1 } };\n')
    try:
        result = check_types(project)
    finally:
        wrong.unlink()

    assert result.returncode != 0
    assert "wrong.ts(1," in result.stdout


def test_what_is_declared_is_there_and_nothing_else_is() -> None:
    """The script and its declarations export the same names."""
    script = set(re.findall(r"^export (?:async )?(?:function\*?|class|const) (\w+)", read("gateway-kit.js"), re.M))
    declared = set(re.findall(r"^export (?:function|class|const) (\w+)", read("gateway-kit.d.ts"), re.M))

    assert script == declared != set()


def read(name: str) -> str:
    return (ROOT / KIT / name).read_text("utf-8")
