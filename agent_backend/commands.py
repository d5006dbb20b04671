"""What is done to a database from the command line: migrate, look, sum up, forget.

Rules: one line says what was done; what went wrong is one line on stderr and status 1. Nothing here needs a running
backend, and nothing harms one.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from agent_backend.app import engine_of
from agent_backend.attachments import build_library
from agent_backend.attachments.refusals import StorageUnavailable
from agent_backend.context import Owner
from agent_backend.serving import patience_of, patiently, unusable
from agent_backend.settings import Settings
from agent_backend.store.database import kind_of
from agent_backend.store.forget import count_rows, delete_rows, tenants_of
from agent_backend.store.schema import (
    SchemaOutdated,
    SchemaUnknown,
    check_schema,
    current_revision,
    known_revision,
    migrate,
    steps_from,
)
from agent_backend.store.usage import SqlUsage
from agent_backend.usage_report import report

Work = Callable[[AsyncEngine], Awaitable[int]]


def run(settings: Settings, work: Work) -> int:
    """Do it with an engine of its own, without a time limit for statements."""

    async def run_to_end() -> int:
        engine = engine_of(settings, statement_timeout=None)
        try:
            await patiently(lambda: reach(engine), patience=patience_of(settings))
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run_to_end())
    except SchemaUnknown as exc:
        return fail(str(exc))
    except StorageUnavailable as exc:
        return fail(f"the attachments cannot be deleted: {exc}; is [attachments] directory right, and mounted?")
    except Exception as exc:  # each driver raises its own when it cannot connect
        return fail(unusable(exc))


async def reach(engine: AsyncEngine) -> None:
    async with engine.connect():
        pass


def fail(text: str) -> int:
    print(f"agent_backend: {text}", file=sys.stderr)
    return 1


def run_migrate(settings: Settings, options: argparse.Namespace) -> int:
    """Migrate; or only say what that would do (status 1 if anything), or where the database is now."""

    async def work(engine: AsyncEngine) -> int:
        if options.current:
            print(f"schema {await current_revision(engine) or 'empty'} (this version: {known_revision()})", flush=True)
            return 0
        if options.check:
            return await tell_steps(engine)
        await migrate(engine)
        print(f"agent_backend migrated ({kind_of(engine)}, schema {known_revision()})", flush=True)
        return 0

    return run(settings, work)


async def tell_steps(engine: AsyncEngine) -> int:
    """Raises `SchemaUnknown` where a migration would be refused."""
    try:
        await check_schema(engine)
    except SchemaOutdated:
        for step in steps_from(await current_revision(engine)):
            print(f"would run {step}", flush=True)
        return 1
    print(f"nothing to do: schema {known_revision()}", flush=True)
    return 0


def run_usage(settings: Settings, options: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        await check_schema(engine)
        print(await report(SqlUsage(engine=engine), by=options.by, since=options.since, form=options.format))
        return 0

    return run(settings, work)


def run_forget(settings: Settings, options: argparse.Namespace) -> int:
    """Delete everything of one user. Again is harmless, and finds nothing."""
    owner = Owner(issuer=options.issuer, subject=options.subject, tenant=options.tenant)

    async def work(engine: AsyncEngine) -> int:
        await check_schema(engine)
        counts = await count_rows(engine, owner)
        library = build_library(settings.attachments, engine=engine)
        if counts["attachments"] and library is None:
            return fail("this user has attachments; set [attachments] as the backend has it, to delete their bytes")
        if not options.dry_run:
            if library is not None:
                await library.delete_all(owner)
            await delete_rows(engine, owner)
        done = "would delete" if options.dry_run else "deleted"
        print(f"{done}: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}", flush=True)
        for tenant in await tenants_of(engine, issuer=owner.issuer, subject=owner.subject):
            if tenant != owner.tenant:
                where = f"tenant {tenant!r}: name it with --tenant" if tenant else "no tenant: leave --tenant out"
                print(f"not touched, what this subject has in {where}", flush=True)
        return 0

    return run(settings, work)
