"""Is the schema the one this version knows, and making it so.

Rules: migrations travel inside the package and are run by `agent_backend migrate`, all in one transaction, and one
process at a time. An embedded SQLite file belongs to its backend, which brings it up to date by itself at start: a demo
needs no command. A PostgreSQL is shared, so `serve` only looks, and names the command. Tables that are ours by name and
not by history are never touched.
"""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.store.database import kind_of
from agent_backend.store.tables import metadata

# Any number, as long as it is always the same: the name of PostgreSQL's lock around a migration.
MIGRATION_LOCK = 0x41_47_45_4E_54
COMMAND = "agent_backend migrate --settings FILE"


class SchemaUnknown(Exception):
    """The database has another schema than this version's; the text says what to do."""


class SchemaOutdated(SchemaUnknown):
    """It is older than this version's, or empty: migrating is all there is to do."""


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", "agent_backend.store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(migrations())


def known_revision() -> str | None:
    """The newest revision in the package."""
    return scripts().get_current_head()


def steps_from(revision: str | None) -> list[str]:
    """What a migration would do, oldest first: ``0003 Turns: which thread …``."""
    steps = scripts().iterate_revisions("head", revision or "base")
    return [f"{step.revision} {step.doc}" for step in steps][::-1]


async def current_revision(engine: AsyncEngine) -> str | None:
    """The database's revision, or None when it has never been migrated."""
    async with engine.connect() as connection:
        return await connection.run_sync(read_revision)


async def migrate(engine: AsyncEngine) -> None:
    """Bring the database to the newest revision: all steps or none. Who comes second waits, and has nothing to do."""
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        await connection.commit()


async def check_schema(engine: AsyncEngine) -> None:
    """Raises `SchemaOutdated` for what a migration would mend, `SchemaUnknown` for what it would not."""
    async with engine.connect() as connection:
        await connection.run_sync(check)


async def ensure_schema(engine: AsyncEngine) -> None:
    """Ready to serve: migrates SQLite, checks PostgreSQL. Raises `SchemaUnknown`."""
    try:
        await check_schema(engine)
    except SchemaOutdated:
        if kind_of(engine) != "sqlite":
            raise
        await migrate(engine)


def check(connection: Connection) -> None:
    current, known = read_revision(connection), known_revision()
    if current == known:
        return
    if current is not None and current not in {script.revision for script in scripts().walk_revisions()}:
        raise SchemaUnknown(
            f"the database's schema is {current}, which this version (schema {known}) does not know: it is newer, or "
            "another program's; update agent_backend, or name another database in [database] url"
        )
    if current is None and (taken := tables_in_the_way(connection)):
        raise SchemaUnknown(
            f"the database has tables that agent_backend did not make: {', '.join(taken)}; "
            "name an empty database in [database] url"
        )
    raise SchemaOutdated(f"the database's schema is {current or 'empty'}, this version needs {known}; run: {COMMAND}")


def tables_in_the_way(connection: Connection) -> list[str]:
    """Tables with our names in a database that no migration of ours was ever run on."""
    return sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))


def read_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
    else:
        # Python's driver begins no transaction for DDL: without this a failed step would leave half a schema.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        check(connection)
    except SchemaOutdated:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
