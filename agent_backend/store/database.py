"""One URL in, one engine out: SQLite through aiosqlite, PostgreSQL through asyncpg.

Rules: URLs work as people write them; the drivers are our choice. A pooled connection is checked before use, so a
restarted database costs nobody an answer. Knows nothing of tables.
"""

from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

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


def build_engine(url: str, *, pool_size: int = POOL_SIZE, pool_timeout: float = POOL_TIMEOUT) -> AsyncEngine:
    """An engine with a bounded, checked pool. Connects only when first used."""
    parsed = database_url(url)
    if parsed.drivername.startswith("postgresql"):
        return create_async_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_TIMEOUT, "command_timeout": STATEMENT_TIMEOUT},
        )
    engine = create_async_engine(parsed, pool_pre_ping=True)
    event.listen(engine.sync_engine, "connect", prepare_sqlite)
    return engine


def prepare_sqlite(connection: Any, record: object) -> None:
    """Readers beside one writer, patience, and the foreign keys SQLite forgets with every connection."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
