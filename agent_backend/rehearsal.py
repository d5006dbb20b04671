"""One whole turn before the first user's.

The libraries below build most of themselves when first used: validators, prompts, statements. The first turn of a
process takes seven times as long as the second (130 ms, 18 ms). So one is played through at start, with the offline
model and a database in memory, for nobody: nothing is asked of the network and nothing is kept.
"""

import json

from chatkit.server import StreamingResult

from agent_backend.agent import build_agent
from agent_backend.context import PageContext, RequestContext, User
from agent_backend.models import build_run_config
from agent_backend.offline_model import OfflineModel
from agent_backend.server import AssistantServer
from agent_backend.store import SqlStore, build_engine
from agent_backend.store.schema import migrate

NOBODY = RequestContext(
    user=User(id="nobody", issuer="rehearsal"), request_id="rehearsal", page=PageContext(title="Rehearsal")
)
MESSAGE = {"content": [{"type": "input_text", "text": "Hello"}], "attachments": [], "inference_options": {}}
REQUEST = json.dumps({"type": "threads.create", "params": {"input": MESSAGE}})


async def rehearse() -> int:
    """Play one turn. Gives the number of events it had."""
    engine = build_engine("sqlite://")
    try:
        await migrate(engine)
        server = AssistantServer(
            store=SqlStore(engine=engine),
            build_agent=build_agent,
            model=OfflineModel(word_delay=0),
            run_config=build_run_config(export_traces=False),
        )
        result = await server.process(REQUEST, NOBODY)
        return len([frame async for frame in result]) if isinstance(result, StreamingResult) else 0
    finally:
        await engine.dispose()
