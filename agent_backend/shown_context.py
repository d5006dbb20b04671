"""What the backend was told for one request, as an event for the page that asked: for people who look how it works.

Rules: off unless `[answer] show_context` is on. Everything in it is the user's own and came with this request; a token
is never in it, because neither the context's page nor an assertion's claims hold one. Pure.
"""

from chatkit.types import ClientEffectEvent

from agent_backend.context import RequestContext

# The page listens for `chatkit.effect` of this name; others pass it over.
EFFECT = "gateway.context"


def context_effect(context: RequestContext) -> ClientEffectEvent:
    """The verified user, the page as the model is given it, and what the gateway's assertion said."""
    user = context.user
    return ClientEffectEvent(
        name=EFFECT,
        data={
            "user": {"id": user.id, "name": user.name, "email": user.email, "roles": list(user.roles)},
            "issuer": user.issuer,
            "tenant": user.tenant,
            "page": context.page.facts() if context.page else None,
            "locale": context.locale,
            "request_id": context.request_id,
            "assertion": dict(context.claims),
        },
    )
