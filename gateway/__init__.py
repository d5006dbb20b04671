"""An authenticating edge gateway for AI chat backends that speak the ChatKit protocol.

A browser sends a ChatKit request with an httpOnly cookie it cannot read. The gateway finds the token, verifies it
against cached JWKS, writes the verified user into the body, signs a short-lived assertion about who calls and what
they asked, and streams the backend's answer back without holding a byte. The backend believes that assertion alone.

One request, top to bottom, is `proxy.py`. The rooms, each allowed to import only from the rows below it:

    __main__    the command line: serve, demo, check, show, kit, chat
    demo/       a development issuer, a page, a supervisor; nothing else imports it
    check       would these settings work?                   chat/      a ChatKit client for terminals and scripts
    app         composition root: settings in, ASGI app out; lifespan
    compile     settings to runtime objects: issuers, backends, routes, keys
    endpoints   health, published keys, session              proxy      the request path; decides nothing itself
    settings    one typed model; TOML, environment, secrets  kit/       the module for pages: served, copied
    entrance    the route; preflight, authentication, access
    auth/       credentials, keys, verifier, cross-site      backends/  routes, HTTP client, relay, health
    trust/      assertions and the keys that sign them       chatkit/   operations, enrichment of bodies, frames
    wire/       HTTP itself: server, headers, bodies, error answers, access log
    strict_json JSON read strictly, and with positions
    identity    Credential and Identity: frozen values       errors     the taxonomy: status, code, source

The words are fixed: a *client* calls the *gateway*, a *route* binds a path to a *backend*; a *credential* is what the
client presented, an *identity* is who it is after verification, an *assertion* is what the gateway tells the backend;
an *operation* is a ChatKit request type, a *stream* one answer in flight.
"""

__version__ = "0.1.0"
