"""A real MCP server over streamable HTTP: it knows whose each token is, refuses others, and notes who called what."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import INVALID_PARAMS
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.support.servers import serve

# Seconds between two looks at an event of another thread.
LOOK = 0.005


@dataclass(slots=True, kw_only=True)
class Call:
    """One call as it arrived. ``caller``: whose token was in the header."""

    tool: str
    caller: str
    arguments: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ToolServer:
    """``tokens`` maps each good token to its user.

    Attributes:
        guarded: Refuse requests without a good token in the header with 401.
        era: "modern" has no sessions; "handshake" is what servers spoke until 2025, with a session each.
        refuse_with: Answer every request with this status instead.
        hold: The tool ``slow`` waits until this is set; ``begun`` says that it is waiting.
        sessions: Opened less closed, in the handshake era.
        sockets: Open now.
    """

    tokens: dict[str, str]
    guarded: bool = True
    era: str = "modern"
    refuse_with: int = 0
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    opened: int = 0
    sessions: int = 0
    sockets: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)
    stuck: threading.Event = field(default_factory=threading.Event)
    cut: int = 0

    def app(self) -> ASGIApp:
        inner = self._tools().streamable_http_app()

        async def guard(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
                return
            for _ in iter(self.stuck.is_set, False):
                await asyncio.sleep(LOOK)
            status = self._status_for(scope)
            if status:
                await answer(send, status)
                return
            await self._pass_on(inner, scope, receive, send)

        return guard

    def _tools(self) -> MCPServer:
        tools = MCPServer("orders")

        @tools.tool(description="Who is calling.")
        async def whoami(ctx: Context) -> str:
            return self._note("whoami", ctx).caller

        @tools.tool(description="The user's orders.")
        async def orders(ctx: Context, status: str, user_id: str, access_token: str) -> str:
            given = {"status": status, "user_id": user_id, "access_token": access_token}
            self._note("orders", ctx, given)
            if self.tokens.get(access_token) != user_id:
                raise ToolError(f"{access_token!r} is not the token of {user_id!r}")
            return f"{user_id} has 3 {status} orders"

        @tools.tool(description="Everything that was sent, as a careless server repeats it.")
        async def echo(ctx: Context) -> str:
            call = self._note("echo", ctx)
            return json.dumps({"headers": headers_of(ctx), "meta": call.meta})

        @tools.tool(description="Fails, with everything that was sent in the error.")
        async def fail(ctx: Context, access_token: str = "") -> str:
            self._note("fail", ctx, {"access_token": access_token})
            raise ToolError(f"cannot work with {headers_of(ctx)} and {access_token[:40]!r}…")

        @tools.tool(description="Fails below the level of tools, likewise.")
        async def refuse(ctx: Context) -> str:
            call = self._note("refuse", ctx)
            raise MCPError(code=INVALID_PARAMS, message=f"no {call.meta} {headers_of(ctx).get('authorization')}")

        @tools.tool(description="Listed with `_meta` of its own.", meta={"user_id": "mallory"})
        async def marked(ctx: Context) -> str:
            return str(self._note("marked", ctx).meta.get("user_id"))

        @tools.tool(description="Answers when it is told to.")
        async def slow(ctx: Context) -> str:
            return await self._slow(ctx)

        return tools

    async def _slow(self, ctx: Context) -> str:
        caller = self._note("slow", ctx).caller
        self.begun.set()
        try:
            for _ in iter(self.hold.is_set, True):
                await asyncio.sleep(LOOK)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        return f"at last, {caller}"

    def _note(self, tool: str, ctx: Context, arguments: dict[str, Any] | None = None) -> Call:
        meta = {name: value for name, value in dict(ctx.request_context.meta or {}).items() if "/" not in name}
        call = Call(tool=tool, caller=self._caller(headers_of(ctx)), arguments=arguments or {}, meta=meta)
        self.calls.append(call)
        return call

    def _caller(self, headers: dict[str, str]) -> str:
        return self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "), "nobody")

    def _status_for(self, scope: Scope) -> int:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if self.guarded and self._caller(headers) == "nobody":
            return 401
        return self.refuse_with

    async def _pass_on(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive() if scope["method"] == "POST" else None
        body = first.get("body", b"") if first else b""
        if self.era == "handshake" and b'"server/discover"' in body:
            await answer(send, 400)
            return
        if b'"initialize"' in body or b'"server/discover"' in body:
            self.opened += 1
        self.sessions += (b'"initialize"' in body) - (scope["method"] == "DELETE")
        pending = [first] if first else []

        async def again() -> Message:
            return pending.pop() if pending else await receive()

        await inner(scope, again, send)

    def protocol(self) -> type[HttpToolsProtocol]:
        """uvicorn's own, counting sockets."""
        server = self

        class Counting(HttpToolsProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                server.sockets += 1
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                server.sockets -= 1
                super().connection_lost(exc)

        return Counting


def headers_of(ctx: Context) -> dict[str, str]:
    request = ctx.request_context.request
    return dict(request.headers) if request is not None else {}


async def answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"no"})


@contextmanager
def running(server: ToolServer, *, port: int = 0) -> Iterator[ToolServer]:
    """Serve it; everything that is open is cut at the end. The same one can run again, as after a restart."""
    with serve(server.app(), port=port, http=server.protocol()) as url:
        server.url = f"{url}/mcp"
        try:
            yield server
        finally:
            server.stuck.clear()
