"""The kit's files, as they lie in the package."""

import re

from gateway.kit.files import FILES, KIT_VERSION, SCRIPT, STATIC, integrity_of, kit_path, read_file


def test_every_file_is_served_and_nothing_else_is_there() -> None:
    """What lies in the folder is what pages can load."""
    assert sorted(path.name for path in STATIC.iterdir()) == sorted(FILES)


def test_the_module_says_the_version_of_its_path() -> None:
    """A page that reports its version reports the one it loaded."""
    assert f'export const KIT_VERSION = "{KIT_VERSION}";' in read_file(SCRIPT).decode()
    assert kit_path(SCRIPT) == f"/kit/{KIT_VERSION}/gateway-kit.js"


def test_integrity_is_what_browsers_compute() -> None:
    """The hash of the empty text is well known."""
    assert integrity_of(b"") == "sha384-OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb"


def test_the_module_needs_nobody() -> None:
    """No import, no address but ChatKit's; nothing becomes markup, nothing needs `unsafe-inline` or `unsafe-eval`."""
    script = read_file(SCRIPT).decode()
    code = re.sub(r"^\s*(//|/\*\*|\*).*$", "", script, flags=re.MULTILINE)

    assert re.findall(r"^\s*import\b|\bimport\(", code, flags=re.MULTILINE) == []
    assert set(re.findall(r"https?://[\w.]+", code)) == {"https://cdn.platform.openai.com", "https://chat.example.com"}
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function|document\.write", code) == []


def test_types_and_module_export_the_same() -> None:
    """A name that only one of them knows would break a build, or a page."""
    exported = re.compile(r"^export (?:async )?(?:const|class|function\*?|async function\*?) (\w+)", re.MULTILINE)

    assert exported.findall(read_file("gateway-kit.d.ts").decode()) == exported.findall(read_file(SCRIPT).decode())
