"""The gateway's neighbours run on the loop that is fast enough for a thousand deaths."""

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}
