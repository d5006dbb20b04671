"""Your own ChatKitServer behind the gateway: the only thing it takes from us is `trust`.

uvicorn server:app --port 9000
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from memory_store import MemoryStore
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agent_backend.problems import NotFound
from agent_backend.trust import GatewayTrust, Problem, RequestContext, answer_problem

GATEWAY = os.environ["GATEWAY_URL"]
trust = GatewayTrust(jwks_url=f"{GATEWAY}/.well-known/jwks.json", issuer=GATEWAY, audience="support")


class Greeter(ChatKitServer[RequestContext]):
    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        text = f"Hello {context.user.name}, you are on {context.page.title if context.page else 'no page'}."
        yield ThreadItemDoneEvent(
            item=AssistantMessageItem(
                id=self.store.generate_item_id("message", thread, context),
                thread_id=thread.id,
                created_at=datetime.now(UTC),
                content=[AssistantMessageContent(text=text)],
            )
        )


server = Greeter(MemoryStore())


async def chatkit(request: Request) -> Response:
    context = await trust.authenticate(request)  # 401 unless the gateway vouches for this very request
    result = await server.process(context.body, context)
    if isinstance(result, StreamingResult):
        return StreamingResponse(result, media_type="text/event-stream")
    return Response(result.json, media_type="application/json")


async def answer_not_found(request: Request, exc: Exception) -> Response:
    return NotFound(str(exc)).response(request.headers.get("x-request-id"))


app = Starlette(
    routes=[Route("/chatkit", chatkit, methods=["POST"])],
    exception_handlers={Problem: answer_problem, NotFoundError: answer_not_found},
)
