"""A ChatKit agent backend that trusts only the gateway.

`trust` turns the gateway's assertion into a `RequestContext` and refuses everything else; it works in anybody's
ChatKitServer. The rest is one complete backend: agent, history, store.

    __main__         the command line: serve, migrate
    app              composition root: settings in, ASGI app out; lifespan with warm-up; health
    rehearsal        one whole turn before the first user's
    settings         one typed model                            settings_file   reading it; every problem at once
    endpoint         the one POST, and the stream that ends when its reader leaves
    access_log       one line per request
    server           AssistantServer(ChatKitServer): what to do with one operation
    preconditions    can it be done at all? asked before a stream begins
    events           stopping a run well; item ids of our own
    agent            the agent, its instructions                 history         thread items in, model input out
    models           which model: a compatible endpoint, or      offline_model, offline_answer
    store/           SQLAlchemy: tables, queries (each filtered by owner), migrations
    trust            assertion in, RequestContext out: the one place that knows a JOSE library
    assertion        judging an assertion, pure                  gateway_keys, replay   whose key; used before?
    context          RequestContext: user, page context, locale, request id; frozen
    problems         what can go wrong before an answer begins, and how it is told

It shares no code with `gateway`: their contract is HTTP, and tests hold both to it.
"""

__version__ = "0.1.0"
