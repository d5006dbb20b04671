"""One MCP session of one user, entered and left in one task of its own.

Rules: the SDK's sessions live in cancel scopes, which must be left by the task that entered them; so each connection
has an owner task, and whoever wants it closed says so and goes on. Calls are one at a time, as the SDK makes them
anyway; what became of a call is read from the wire. Knows nothing of users, pools or models.
"""

import asyncio
import logging
from typing import Any

import httpx2
from agents import UserError
from agents.mcp import MCPServerStreamableHttp
from mcp import MCPError
from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult, Tool, ToolListChangedNotification

from agent_backend.mcp.choice import ServerChoice
from agent_backend.mcp.failures import ServerUnavailable, SessionLost, TokenRefused, ToolFailed
from agent_backend.mcp.wire import Wire

# Seconds to say goodbye; a server that takes longer notices the closed socket.
CLOSE_TIMEOUT = 1.0
# Statuses with which a proxy says that there is nobody behind it.
NOT_THERE = frozenset({502, 503, 504})
# Pages of one tool list. A server with more tools than fit has too many for a model.
MAX_PAGES = 20
# Characters of a server's own error the model is told.
MAX_ERROR = 500
# A model that knows only "failed" would try a payment twice.
UNKNOWN = "It is not known whether it was carried out: tell the user, do not repeat it."
# These print whole messages, arguments and tokens included, when something is odd or at DEBUG. What matters of it is
# said by `servers`.
TALKATIVE = ("mcp.client", "mcp.shared", "client")


logger = logging.getLogger(__name__)


def silence_wire_logs() -> None:
    """At any level: an operator who turns DEBUG on wants no tokens in the log."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class Connection:
    """Open from `start` to `close`. ``is_broken`` means that nobody should use it again."""

    def __init__(self, choice: ServerChoice, *, auth: httpx2.Auth | None) -> None:
        self._choice = choice
        self._wire: Wire | None = None
        self._server = MCPServerStreamableHttp(
            params={
                "url": choice.url,
                "timeout": choice.connect_timeout,
                # Between two bytes of an answer, or of the stream some servers keep open for notices of their own; the
                # calls have a limit of their own, which is shorter and ends them better.
                "sse_read_timeout": choice.call_timeout + choice.idle_timeout,
                "httpx_client_factory": self._build_client,
                "auth": auth,
            },
            name=choice.name,
            cache_tools_list=True,
            client_session_timeout_seconds=choice.call_timeout,
            message_handler=self._handle_message,
            max_list_pages=MAX_PAGES,
        )
        self._calling = asyncio.Lock()
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None] | None = None
        self.is_broken = False

    def __repr__(self) -> str:
        state = "broken" if self.is_broken else "open" if self._opened.done() else "opening"
        return f"<Connection {self._choice.name} {state}>"

    def start(self) -> asyncio.Task[None]:
        """Begin to open. Gives the owner task, for somebody to hold; it ends when all is closed."""
        self._owner = asyncio.create_task(self._own(), name=f"mcp {self._choice.name}")
        return self._owner

    async def opened(self) -> None:
        """Wait until hands are shaken and the tools known. Raises `ServerUnavailable`."""
        await asyncio.shield(self._opened)

    def abandon(self) -> None:
        """Nobody waits for it any more: not for its opening either."""
        self.close()
        if self._owner is not None and not self._opened.done():
            self._owner.cancel()

    def close(self) -> None:
        """Ask the owner to leave; it does so by itself, within CLOSE_TIMEOUT."""
        self.is_broken = True
        self._closing.set()

    async def list_tools(self) -> list[Tool]:
        """From memory, unless the server has said that they changed. Raises `SessionLost` when it cannot be asked."""
        try:
            return await self._server.list_tools()
        except Exception as exc:
            self.is_broken = True
            raise SessionLost(f"{type(exc).__name__} when listing tools") from None

    def forget_tools(self) -> None:
        """They changed: whoever lists them next asks the server."""
        self._server.invalidate_tools_cache()  # type: ignore[no-untyped-call]  # the SDK leaves it so

    async def call(self, tool: str, arguments: dict[str, Any], meta: dict[str, Any] | None) -> CallToolResult:
        """One call. Raises `SessionLost` when it was certainly not carried out, else `TokenRefused` or `ToolFailed`."""
        async with self._calling:
            if self.is_broken or self._wire is None:
                raise SessionLost("closed")
            self._wire.begin_call()
            try:
                return await self._server.call_tool(tool, arguments, meta)
            except asyncio.CancelledError:
                # Nobody knows what state the server is in: a later turn starts afresh.
                self.is_broken = True
                raise
            except Exception as exc:
                failure = self._failure_of(exc, self._wire)
        raise failure

    def _failure_of(self, exc: Exception, wire: Wire) -> Exception:
        """1. not even sent, for want of a parameter 2. token refused 3. never carried out 4. took too long
        5. an error the server explains 6. cut off."""
        name = self._choice.shown_name
        if isinstance(exc, UserError) and not wire.was_tried:
            return ToolFailed(str(exc)[:MAX_ERROR])
        if wire.is_refused:
            self.is_broken = True
            return TokenRefused(f"answered {wire.status}")
        if not wire.may_have_run:
            self.is_broken = True
            return SessionLost(type(exc).__name__)
        code = exc.code if isinstance(exc, MCPError) else CONNECTION_CLOSED
        if code == REQUEST_TIMEOUT:
            return ToolFailed(f"{name} did not answer within {self._choice.call_timeout:g} s. {UNKNOWN}")
        if code != CONNECTION_CLOSED and wire.status < 500:
            return ToolFailed(f"{name} refused the call: {exc}"[:MAX_ERROR])
        self.is_broken = True
        return ToolFailed(f"The connection to {name} was lost during the call. {UNKNOWN}")

    async def _own(self) -> None:
        """The connection's whole life, in one task."""
        try:
            async with asyncio.timeout(self._choice.connect_timeout):
                await self._server.connect()  # type: ignore[no-untyped-call]  # the SDK leaves it so
                await self._server.list_tools()
        except Exception as exc:
            self._opened.set_exception(self._unavailable(exc))
            # Nobody may be left to look: a turn can be cancelled while it connects.
            self._opened.exception()
        else:
            self._opened.set_result(None)
            await self._closing.wait()
        finally:
            self.is_broken = True
            if not self._opened.done():
                self._opened.set_exception(ServerUnavailable("closed while it was being opened"))
                self._opened.exception()
            await self._leave()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._server.cleanup()  # type: ignore[no-untyped-call]  # the SDK leaves it so
        except Exception as exc:
            logger.info("mcp connection cut", extra={"server": self._choice.name, "error": type(exc).__name__})

    def _unavailable(self, exc: Exception) -> ServerUnavailable:
        status = self._wire.status if self._wire else 0
        if self._wire and self._wire.is_refused:
            return TokenRefused(f"refused the user: {status}")
        if isinstance(exc, TimeoutError):
            return ServerUnavailable(f"no answer within {self._choice.connect_timeout:g} s", is_down=True)
        if status == 0:
            return ServerUnavailable("could not be reached", is_down=True)
        return ServerUnavailable(f"answered {status}: {kind_of(exc)}", is_down=status in NOT_THERE)

    def _build_client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        # HTTP_PROXY and its like are for the way out. Plain http is for this machine or network: a proxy could read it.
        is_outward = self._choice.url.startswith("https:")
        self._wire = Wire(headers=headers, timeout=timeout, auth=auth, trust_env=is_outward)
        return self._wire

    async def _handle_message(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.forget_tools()


def kind_of(exc: BaseException) -> str:
    """The name of the error inside the SDK's groups of groups. Its text is the server's, and stays here."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return type(exc).__name__
