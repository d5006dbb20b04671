"""An agent of your own: one function, called once per answer with the turn.

[in the settings file]  agent = "shop:build_agent"
"""

from agents import Agent, RunContextWrapper, function_tool

from agent_backend.turn import ChatContext, Turn

ORDERS = {"alice": ["A-17, shipped on Monday"], "bob": ["B-4, being packed"]}


@function_tool
async def list_orders(run: RunContextWrapper[ChatContext]) -> list[str]:
    """The user's orders, newest first."""
    # Who it is was verified and is not the model's to choose: a parameter `user_id` could be talked into another's.
    return ORDERS.get(run.context.request_context.user.id, [])


async def build_agent(turn: Turn) -> Agent[ChatContext]:
    return Agent(
        name="Shop",
        instructions="You are the shop's assistant. Answer questions about the user's orders, and nothing else.",
        tools=[list_orders],
        model=turn.model,
        mcp_servers=list(turn.mcp_servers),
    )
