"""The maps in the packages' docstrings, held to the rooms that are there."""

import re
from pathlib import Path
from types import ModuleType

import pytest

import agent_backend
import gateway


def rooms_of(package: ModuleType) -> set[str]:
    """Modules and sub-packages by name."""
    folder = Path(str(package.__file__)).parent
    return {
        path.name.removesuffix(".py")
        for path in folder.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.name != "__init__.py"
    }


@pytest.mark.parametrize("package", [gateway, agent_backend])
def test_the_map_names_every_room(package: ModuleType) -> None:
    """Whoever reads the docstring first knows every module that is there."""
    words = set(re.findall(r"\w+", package.__doc__ or ""))

    assert rooms_of(package) - words == set()
