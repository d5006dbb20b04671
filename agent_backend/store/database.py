"""One URL in, one engine out: SQLite through aiosqlite, PostgreSQL through asyncpg.

Rules: URLs work as people write them; the drivers are our choice. A pooled connection is checked before use, so a
restarted database costs nobody an answer. What the drivers raise when the database cannot be used is told apart from
our own mistakes here, once: `reading` and `writing` raise `DatabaseUnavailable`. Knows nothing of tables.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agent_backend.problems import DatabaseUnavailable

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
# Connections. An answer holds none while the model talks; ten serve some hundred streams.
POOL_SIZE = 10
# Seconds to wait for one of them: longer than any query of ours, shorter than people's patience.
POOL_TIMEOUT = 10.0
# Seconds to reach PostgreSQL, and for one statement: ours are all reads and writes of single threads.
CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 10.0
# Milliseconds SQLite waits for another writer.
BUSY_TIMEOUT = 5000
# SQLAlchemy's errors are logged, and the values of a statement are what a user wrote.
QUIET: dict[str, Any] = {"hide_parameters": True}
# Classes of SQLSTATE that mean "not now": connection lost, out of resources, stopped by an operator.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
OUTAGE_CLASSES = frozenset({"08", "53", "57"})
# The same from SQLite: busy, locked, I/O error, disk full, cannot open. https://www.sqlite.org/rescode.html
OUTAGE_CODES = frozenset({5, 6, 10, 13, 14})


def database_url(text: str) -> URL:
    """The URL with our driver. Raises ValueError for what is no URL or another database."""
    try:
        url = make_url(text)
    except Exception as exc:
        raise ValueError("not a database URL; for example sqlite:///agent.sqlite3") from exc
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(f"{url.drivername} is not supported; use sqlite:/// or postgresql://")
    return unix_socket(ssl_mode(url.set(drivername=driver)))


def ssl_mode(url: URL) -> URL:
    """libpq says ``sslmode``, asyncpg says ``ssl``, with the same values."""
    mode = url.query.get("sslmode")
    if not url.drivername.startswith("postgresql") or mode is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def unix_socket(url: URL) -> URL:
    """libpq takes ``?host=/directory``; SQLAlchemy would split it at colons and ask for a port."""
    directory = url.query.get("host")
    if not isinstance(directory, str) or not directory.startswith("/"):
        return url
    return url.difference_update_query(["host"]).set(host=directory)


def kind_of(engine: AsyncEngine) -> str:
    """``sqlite`` or ``postgresql``."""
    return engine.dialect.name


def build_engine(
    url: str,
    *,
    pool_size: int = POOL_SIZE,
    pool_timeout: float = POOL_TIMEOUT,
    statement_timeout: float | None = STATEMENT_TIMEOUT,
) -> AsyncEngine:
    """An engine with a bounded, checked pool. Connects only when first used.

    Args:
        statement_timeout: seconds for one statement on PostgreSQL; None for a migration, which may take an hour.
    """
    parsed = database_url(url)
    pool: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": pool_timeout}
    if parsed.drivername.startswith("postgresql"):
        timeouts = {"timeout": CONNECT_TIMEOUT, "command_timeout": statement_timeout}
        return create_async_engine(parsed, **pool, **QUIET, pool_pre_ping=True, connect_args=timeouts)
    # A database in memory lives in its one connection.
    in_memory = parsed.database in (None, "", ":memory:")
    engine = create_async_engine(parsed, **({} if in_memory else pool), **QUIET, pool_pre_ping=True)
    event.listen(engine.sync_engine, "connect", prepare_sqlite)
    return engine


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to read with, given back at once."""
    with outages_told():
        async with engine.connect() as connection:
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction: kept at the end of the block, undone by an exception."""
    with outages_told():
        async with engine.begin() as connection:
            yield connection


@contextmanager
def outages_told() -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        if is_outage(exc):
            raise DatabaseUnavailable(f"{type(exc).__name__}: {getattr(exc, 'orig', None) or exc}") from exc
        raise


def is_outage(exc: BaseException) -> bool:
    """The database cannot be used now, and may be in a moment; as against a mistake in what we asked of it."""
    if isinstance(exc, OSError | PoolTimeout):  # OSError: nobody listens, a socket broke, a statement took too long
        return True
    if isinstance(exc, DBAPIError) and exc.connection_invalidated:
        return True
    cause = exc.driver_exception if isinstance(exc, DBAPIError) else exc
    sqlstate = getattr(cause, "sqlstate", None) or ""
    return sqlstate[:2] in OUTAGE_CLASSES or getattr(cause, "sqlite_errorcode", 0) & 0xFF in OUTAGE_CODES


def prepare_sqlite(connection: Any, record: object) -> None:
    """Readers beside one writer, patience, and the foreign keys SQLite forgets with every connection."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
    write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def write_ahead(cursor: Any) -> None:
    """Of several that open a new file at once one makes it write ahead, and SQLite does not let the others wait: they
    are told `locked` at once, whatever `busy_timeout` says. The file then stays so; this happens once in its life."""
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)
