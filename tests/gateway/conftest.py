"""What the gateway's tests share: the command line sets up logging for its process, which here is everybody's."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_stays_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers = [handler for handler in root.handlers if handler in handlers]
