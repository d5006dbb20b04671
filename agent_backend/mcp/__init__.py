"""Tools of MCP servers, called in the user's name.

    choice         what the settings say of one server, and which facts about a user can travel
    settings       the table [mcp.NAME]: what would show a token is refused
    servers        McpServers: everything one turn gets, `async with servers.servers_for(context)`
    user_server    one server as one user sees it: hidden parameters, `_meta`, clean results
    pool           connections of one server: one per user and token, a bound, idle expiry
    connection     one MCP session, entered and left in one task
    wire           the HTTP client under it, which notes what became of each request
    parameters     tool schemas without the hidden parameters, and filling those in; pure
    secrets        taking a token out of what a server says; pure
    failures       what can go wrong, and what the model and the log are told

How the user's identity travels is chosen per server: in a header, in `_meta`, in arguments the model never sees, or,
where a server leaves no other way and the settings say so aloud, in the prompt. In the first three the token is in no
model input, stored item, trace or log.
"""

from agent_backend.mcp.choice import ServerChoice
from agent_backend.mcp.servers import McpServers, TurnTools

__all__ = ["McpServers", "ServerChoice", "TurnTools"]
