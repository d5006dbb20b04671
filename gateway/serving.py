"""Serving: a socket, a server, the app behind it; in this process or in several.

Rules: what listens is opened before anything else, so that a port that is taken is said at once; whoever watches
several workers reads new settings first, and says once what is wrong with them.
"""

import asyncio
import gc
import logging
import math
import signal
import socket
from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from gateway.app import Gateway
from gateway.compile import build_signing_keys
from gateway.metrics.reading import Reading, read_json
from gateway.reloading import Load, Reloading, build_certificate, limits_of, load_again, times_of, with_server
from gateway.settings import Settings
from gateway.trust.signing_keys import SigningKey
from gateway.wire.server import (
    DrainingServer,
    build_server,
    open_socket,
    raise_file_limit,
)
from gateway.wire.tls import Certificate
from gateway.workers import STALE, Board, Seat, describe, run_workers

logger = logging.getLogger("gateway.serving")

# Seconds between two slips of a worker: a probe may see the past of that long.
POST_EVERY = 0.5


def serve(settings: Settings, *, extra_routes: Sequence[BaseRoute] = (), load: Load | None = None) -> int:
    """Serve until a signal. Prints one line when ready.

    Args:
        load: Reads the settings anew, for SIGHUP; without it they stay as they are.

    Returns:
        The exit code: 0 after a drain.

    Raises:
        OSError: The port is taken, or may not be opened.
        ValueError: A file that the settings name cannot be used.
    """
    raise_file_limit()
    settings, sock = _listen(settings)
    metrics = _listen_for_metrics(settings)
    if settings.server.workers == 1:
        server = _build(settings, sock, extra_routes, load, metrics=metrics)
        _settle()
        server.run([sock])
        return 0
    keys = build_signing_keys(settings)
    board = Board(settings.server.workers)
    latest = settings
    refusals = _Refusals(board)

    def work(seat: Seat) -> None:
        server = _build(latest, sock, extra_routes, load, metrics=metrics, signing_keys=keys, seat=seat, board=board)
        seat.on_orphaned = lambda: server.handle_exit(signal.SIGTERM, None)
        _settle()
        server.run([sock])

    def reload() -> bool:
        """Whoever comes later begins with what its siblings serve by. Settings that are wrong are said once, here."""
        nonlocal latest
        again = load_again(load, latest) if load is not None else None
        latest = again or latest
        refusals.note(taken=again is not None)
        return again is not None

    return run_workers(settings.server.workers, work, on_ready=lambda: _say_ready(settings), on_reload=reload)


def open_server(
    settings: Settings, *, extra_routes: Sequence[BaseRoute] = (), load: Load | None = None
) -> tuple[DrainingServer, socket.socket]:
    """Listen, and build the server that will serve there. The port is known from here on, also where it was 0."""
    settings, sock = _listen(settings)
    return _build(settings, sock, extra_routes, load, metrics=_listen_for_metrics(settings)), sock


def _listen(settings: Settings) -> tuple[Settings, socket.socket]:
    table = settings.server
    sock = open_socket(table.host, table.port, table.backlog)
    return with_server(settings, port=sock.getsockname()[1]), sock


def _listen_for_metrics(settings: Settings) -> socket.socket | None:
    table = settings.metrics
    if table.port is None:
        return None
    try:
        return open_socket(table.host, table.port, settings.server.backlog)
    except OSError as exc:
        place = f"{table.host}:{table.port}"
        raise ValueError(f"the metrics listener at {place}: {exc}; set metrics.host and metrics.port") from exc


def _build(
    settings: Settings,
    sock: socket.socket,
    extra_routes: Sequence[BaseRoute],
    load: Load | None,
    *,
    metrics: socket.socket | None,
    signing_keys: Sequence[SigningKey] | None = None,
    seat: Seat | None = None,
    board: Board | None = None,
) -> DrainingServer:
    certificate = build_certificate(settings)
    gateway = Gateway(
        settings,
        extra_routes=extra_routes,
        signing_keys=signing_keys,
        sibling_reasons=(lambda: board.reasons(but=seat.index)) if board is not None and seat is not None else tuple,
        inherited=_find_predecessor(seat, board),
    )
    begins: list[Callable[[], None]] = []

    def begin_all() -> None:
        for begin in begins:
            begin()

    server = build_server(
        gateway,
        limits=limits_of(settings.server),
        times=times_of(settings.server),
        on_ready=begin_all,
        on_refused=gateway.note_refusal,
        backlog=settings.server.backlog,
        tls=certificate.context if certificate is not None else None,
    )
    if certificate is not None:
        begins.append(_Renewing(certificate, settings.server.tls_check).begin)
    posting = _Posting(gateway, seat, board) if seat is not None and board is not None else None
    if posting is not None:
        begins.append(posting.begin)
        gateway.on_stopped = posting.post
    else:
        begins.append(lambda: _say_ready(settings))
    if metrics is not None:
        _offer_metrics(server, metrics, posting.read_all if posting else lambda: [gateway.read_metrics()])
    if load is not None:
        reloading = Reloading(gateway, server, load, certificate)
        server.on_reload = reloading.begin
    return server


def _find_predecessor(seat: Seat | None, board: Board | None) -> Reading | None:
    """What whoever had this seat before has counted, as far as it came to say so."""
    slip = board.read(seat.index) if board is not None and seat is not None else None
    return read_json(slip["metrics"]) if slip is not None else None


def _offer_metrics(server: DrainingServer, sock: socket.socket, read: Callable[[], Sequence[Reading]]) -> None:
    # Imported late: whoever has no such listener does not wait for the library.
    from gateway.metrics.page import MetricsPage

    server.listen_also(sock, MetricsPage(read, stale=STALE))


class _Renewing:
    """Looks at the certificate's files now and then."""

    def __init__(self, certificate: Certificate, seconds: float) -> None:
        self._certificate = certificate
        self._seconds = seconds

    def begin(self) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        try:
            if self._certificate.renew():
                logger.warning("certificate renewed")
        except ValueError as exc:
            fields = {"reason": str(exc), "fix": "the last certificate serves on; correct the files"}
            logger.error("certificate not renewed", extra={"fields": fields})
        self.begin()


class _Posting:
    """Keeps a worker's slip on the board, from when it is ready."""

    def __init__(self, gateway: Gateway, seat: Seat, board: Board) -> None:
        self._gateway = gateway
        self._seat = seat
        self._board = board

    def begin(self) -> None:
        self._keep_posting()
        self._seat.announce()

    def post(self) -> None:
        """Write the slip anew."""
        metrics = self._gateway.read_metrics().to_json()
        self._board.post(self._seat.index, {**describe(self._gateway.reasons()), "metrics": metrics})

    def read_all(self) -> Sequence[Reading]:
        """What all workers say, this one as of now. It is posted first: what one of them has told a collector, the
        next that is asked must not fall below."""
        self.post()
        return [read_json(slip["metrics"]) for slip in self._board.read_all()]

    def _keep_posting(self) -> None:
        self.post()
        asyncio.get_running_loop().call_later(POST_EVERY, self._keep_posting)


class _Refusals:
    """The watcher's slip: settings that are wrong are said once, by it, and no worker hears of them."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._count = 0

    def note(self, *, taken: bool) -> None:
        """Settings were read for the workers, or refused."""
        self._count += not taken
        # There as long as any worker is: never stale.
        reading = Reading(at=math.inf)
        reading.add("gateway_reloads_total", ("refused",), self._count)
        reading.set("gateway_reload_successful", (), int(taken))
        slip = {"at": math.inf, "reasons": [], "metrics": reading.to_json()}
        self._board.post(self._board.watcher, slip)


def _say_ready(settings: Settings) -> None:
    table = settings.server
    host = f"[{table.host}]" if ":" in table.host else table.host
    address = f"{'https' if table.tls_certificate else 'http'}://{host}:{table.port}"
    routes = ", ".join(f"{route.path} to {route.backend}" for route in settings.routes.values())
    metrics = f", metrics on {settings.metrics.host}:{settings.metrics.port}" if settings.metrics.port else ""
    print(f"gateway ready on {address} ({routes}){metrics}", flush=True)


def _settle() -> None:
    """What start-up made stays. The collector then looks at what requests make, and seldom: they leave hardly a
    cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
