"""New settings in a server that runs: read, checked, taken, or refused with every reason.

Rules: what cannot be used changes nothing and says why; what only a restart can change is left as it is, and named; the
last signal counts, and one reload follows the other.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from gateway.app import Gateway
from gateway.settings import Settings, SettingsError
from gateway.settings.model import ServerSettings
from gateway.wire.logs import configure_logging
from gateway.wire.server import DrainingServer, DrainTimes, ServerLimits
from gateway.wire.tls import Certificate

logger = logging.getLogger("gateway.reload")

Load = Callable[[], Settings]

# What is settled once the process listens.
FIXED = ("host", "port", "backlog", "workers", "tls_check")
FIXED_TABLES = ("metrics", "tracing")


class Reloading:
    """Takes new settings into a running server."""

    def __init__(self, gateway: Gateway, server: DrainingServer, load: Load, certificate: Certificate | None) -> None:
        self._gateway = gateway
        self._certificate = certificate
        self._server = server
        self._load = load
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Called in the loop, at each SIGHUP. One at a time; the last word counts."""
        before, self._task = self._task, None
        self._task = asyncio.get_running_loop().create_task(self._run(before))

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        try:
            await self._reload()
        except Exception:  # a bug: whoever sends the signal again must not find that nobody listens any more
            logger.exception("settings not reloaded")
            self._gateway.note_reload(taken=False)

    async def _reload(self) -> None:
        last = self._gateway.runtime.settings
        # Reading files takes milliseconds, and the streams go on meanwhile.
        settings = await asyncio.to_thread(load_again, self._load, last)
        if settings is None:
            self._gateway.note_reload(taken=False)
            return
        try:
            build_certificate(settings)
            await self._gateway.reload(settings)
            if self._certificate is not None and settings.server.tls_certificate is not None:
                self._certificate.take(settings.server.tls_certificate, settings.server.tls_key)
        except (OSError, ValueError) as exc:
            self._gateway.note_reload(taken=False)
            _log_refusal([str(exc)])
            return
        self._gateway.note_reload(taken=True)
        self._server.take(limits=limits_of(settings.server), times=times_of(settings.server))
        configure_logging(settings.log.format, settings.log.level)
        logger.warning("settings reloaded", extra={"fields": {"routes": list(settings.routes)}})


def load_again(load: Load, last: Settings) -> Settings | None:
    """New settings, with what cannot change as it was in ``last``; None, said with every problem, if they are wrong."""
    try:
        settings = load()
    except SettingsError as exc:
        _log_refusal(exc.problems)
        return None
    fixed = {name: getattr(last.server, name) for name in FIXED}
    if (last.server.tls_certificate is None) != (settings.server.tls_certificate is None):
        fixed |= {"tls_certificate": last.server.tls_certificate, "tls_key": last.server.tls_key}
    # Port 0 has become a port: it is the same wish.
    changed = [
        f"server.{name}"
        for name, value in fixed.items()
        if getattr(settings.server, name) != value and not (name == "port" and settings.server.port == 0)
    ]
    changed += [name for name in FIXED_TABLES if getattr(settings, name) != getattr(last, name)]
    if changed:
        logger.warning("settings need a restart", extra={"fields": {"settings": changed, "kept": "as they were"}})
    return with_server(settings, **fixed).model_copy(update={name: getattr(last, name) for name in FIXED_TABLES})


def _log_refusal(problems: Sequence[str]) -> None:
    fields = {"problems": list(problems), "fix": "the old settings serve on; correct the file and send SIGHUP again"}
    logger.error("settings not reloaded", extra={"fields": fields})


def with_server(settings: Settings, **values: object) -> Settings:
    """The same but for these values of `[server]`."""
    return settings.model_copy(update={"server": settings.server.model_copy(update=values)})


def build_certificate(settings: Settings) -> Certificate | None:
    """The listener's, if it speaks TLS. Raises ValueError for files that cannot be used."""
    table = settings.server
    return Certificate(table.tls_certificate, table.tls_key) if table.tls_certificate is not None else None


def limits_of(table: ServerSettings) -> ServerLimits:
    """What one client connection may cost."""
    return ServerLimits(
        max_head=table.max_head,
        max_headers=table.max_headers,
        head_timeout=table.head_timeout,
        keep_alive=table.keep_alive,
        write_timeout=table.write_timeout,
    )


def times_of(table: ServerSettings) -> DrainTimes:
    """How long the end takes."""
    return DrainTimes(delay=table.drain_delay, timeout=table.drain_timeout)
