"""A ChatKit agent backend that trusts only the gateway.

`trust.py` turns the gateway's assertion into a `RequestContext` and refuses everything else; it works in anybody's
ChatKitServer. The rest is one complete backend: agent, history, store.

    __main__    the command line: serve, migrate
    app         composition root: settings in, ASGI app out; the endpoint; lifespan with warm-up
    server      AssistantServer(ChatKitServer): what to do with one operation
    agent       the agent, its instructions and tools         history    thread items in, model input out
    models      which model: a compatible endpoint or offline settings   one typed model; TOML and environment
    store/      SQLAlchemy: tables, queries (each filtered by owner), migrations
    trust       assertion in, RequestContext out
    context     RequestContext: user, page context, locale, request id; frozen

It shares no code with `gateway`: their contract is HTTP, and tests hold both to it.
"""

__version__ = "0.1.0"
