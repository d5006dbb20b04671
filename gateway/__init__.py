"""An authenticating edge gateway for AI chat backends that speak the ChatKit protocol.

A browser sends a ChatKit request with an httpOnly cookie it cannot read. The gateway finds the token, verifies it
against cached JWKS, writes the verified user into the body, signs a short-lived assertion about who calls and what
they asked, and streams the backend's answer back without holding a byte. The backend believes that assertion alone.

One request, top to bottom, is `proxy.py`. The rooms, each allowed to import only from the rows below it:

    __main__    the command line: serve, demo, check, explain, show, kit, chat
    demo/       a development issuer, a page, a supervisor; nothing else imports it
    check/      would these settings work?                   explain/   why was this request refused?
    serving     socket, server and app together              chat/      a ChatKit client for terminals and scripts
    reloading   new settings in a server that runs
    app         composition root: settings in, ASGI app out; lifespan, reload
    runtime     what one version of the settings is made into, and what it takes over from the last
    compile     settings to runtime objects: issuers, backends, routes, keys
    endpoints   health, published keys, session              proxy      the request path; decides nothing itself
    metrics/    what is counted, and the page where it is read
    tracing     spans for a collector, if there is one       kit/       the module for pages: served, copied
    settings    one typed model; TOML, environment, secrets  pace        a paced stream, to find buffering proxies
    entrance    the route; preflight, authentication, access
    auth/       credentials, keys, verifier, cross-site      backends/  routes, replicas, HTTP client, relay
    trust/      assertions and the keys that sign them       chatkit/   operations, enrichment of bodies, frames
    wire/       HTTP itself: server, headers, bodies, error answers, access log
    workers     several processes behind one socket
    limits      how much one user may ask for, and how many streams the process takes
    strict_json JSON read strictly, and with positions       outbox     writes of one turn of the loop, together
    identity    Credential and Identity: frozen values       errors     the taxonomy: status, code, source

The words are fixed: a *client* calls the *gateway*, a *route* binds a path to a *backend*; a *credential* is what the
client presented, an *identity* is who it is after verification, an *assertion* is what the gateway tells the backend;
an *operation* is a ChatKit request type, a *stream* one answer in flight.
"""

__version__ = "0.1.0"
