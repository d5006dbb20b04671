"""A ChatKit agent backend that trusts only the gateway.

`trust` turns the gateway's assertion into a `RequestContext` and refuses everything else; it works in anybody's
ChatKitServer. The rest is one complete backend: agent, history, store.

    __main__         the command line: serve, migrate, usage, forget
    commands         what is done to a database from there       serving         the process that answers
    app              composition root: settings in, ASGI app out; lifespan with warm-up
    health           alive? ready, and if not, what is missing?
    rehearsal        one whole turn before the first user's
    settings         one typed model                            settings_file   reading it; every problem at once
    secret_files     values from a directory of secrets         usage_report    what `usage` prints
    settings_reference   the guide's table of all settings
    endpoint         the one POST, and the stream that ends when its reader leaves
    access_log       one line per request
    server           AssistantServer: one agent that answers
    guarded_server   GuardedServer(ChatKitServer): what must hold for any answer
    preconditions    can it be done at all? asked before a stream begins
    stream           an answer under way, in its own task        guard           whatever happens, it is told
    events           stopping a run well; item ids of our own
    agent            the agent, its instructions                 history         thread items in, model input out
    tools            what the default agent can do: one small example of each thing ChatKit has for it
    checklist        one of them: a widget with buttons          actions, clicks   what a button makes happen
    shown_context    what the backend was told, for the page to show
    choices          the tool and the model a user chose         titles          what a conversation is called
    conversion       one thread item, as the model reads it      tokens          how much of its window a text takes
    plugin           somebody else's agent in place of ours, by name
    models           which model: a compatible endpoint, or      offline_model, offline_answer, offline_plan
    patient_model    time limits, and repeats before the first token
    model_failures   what can go wrong with a model              usage           what an answer cost
    attachments/     files that users send: uploaded, previewed, downloaded, shown to the model, deleted
    mcp/             tools of MCP servers, called in the user's name
    store/           SQLAlchemy: tables, queries (each filtered by owner), migrations
    turn             what an agent is built from, per request
    trust            assertion in, RequestContext out: the one place that knows a JOSE library
    assertion        judging an assertion, pure                  gateway_keys, replay   whose key; used before?
    context          RequestContext: user, page context, locale, request id; frozen
    tasks            work that is finished once it was begun
    problems         what can go wrong before an answer begins, and how it is told

It shares no code with `gateway`: their contract is HTTP, and tests hold both to it.
"""

__version__ = "0.1.0"
