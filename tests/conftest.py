"""What every test shares: async tests run on asyncio, as ChatKit and the Agents SDK do."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
