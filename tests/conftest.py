"""What every test shares: one event loop's kind, and nobody on the internet to trust."""

import signal
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from tests.support.last_line import describe_skipped
from tests.support.tls import build_server_context
from tests.support.workers import FileByFile, put_long_ones_first

# A shell that starts this in the background has it ignore Ctrl-C, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    put_long_ones_first(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return FileByFile(config, log)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as ChatKit and the Agents SDK do."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients that trust the usual authorities trust one of ours instead, in the processes that tests start too.

    No test has business with anybody else's. And every HTTP client reads its authorities anew: the usual ones take it
    20 ms, and the tests make hundreds of clients.
    """
    folder = tmp_path_factory.mktemp("authority")
    build_server_context(folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        yield


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line of a run: below pytest's summary and the coverage report, which come before this."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    line = describe_skipped(reporter.getreports("skipped"))
    if line:
        reporter.write_line(line, yellow=True)
