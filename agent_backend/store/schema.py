"""Is the schema the one this version knows, and making it so.

Rules: migrations travel inside the package and are run by `agent_backend migrate`. An embedded SQLite file belongs to
one process, which may bring it up to date itself; a PostgreSQL is shared, so `serve` only looks and names the command.
"""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.store.database import kind_of


class SchemaUnknown(Exception):
    """The database has another schema than this version's; the text names the command to run."""


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", "agent_backend.store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def known_revision() -> str | None:
    """The newest revision in the package."""
    return ScriptDirectory.from_config(migrations()).get_current_head()


async def current_revision(engine: AsyncEngine) -> str | None:
    """The database's revision, or None when it has never been migrated."""
    async with engine.connect() as connection:
        return await connection.run_sync(read_revision)


async def migrate(engine: AsyncEngine) -> None:
    """Bring the database to the newest revision, in one transaction."""
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)


async def ensure_schema(engine: AsyncEngine) -> None:
    """Ready to serve: migrates SQLite, checks PostgreSQL. Raises `SchemaUnknown`."""
    known, current = known_revision(), await current_revision(engine)
    if current == known:
        return
    if current is not None and not is_ours(current):
        raise SchemaUnknown(
            f"the database's schema {current} is newer than this version's {known}; update this version"
        )
    if kind_of(engine) != "sqlite":
        raise SchemaUnknown(
            f"the database's schema is {current or 'empty'}, this version needs {known}; "
            "run: agent_backend migrate --settings FILE"
        )
    await migrate(engine)


def is_ours(revision: str) -> bool:
    return revision in {script.revision for script in ScriptDirectory.from_config(migrations()).walk_revisions()}


def read_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
