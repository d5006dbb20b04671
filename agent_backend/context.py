"""Who asks, about which page, in which request: what every function below the endpoint is given.

Rules: frozen; identity comes from the assertion's claims, never from the body. The page is what the user's browser
says it is: untrusted text, cut to a limit here so that nothing below has to. Knows nothing of HTTP or tokens.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Bytes of UTF-8, over all the page's texts. About 2,000 tokens: enough for a title, headings and a selection.
MAX_PAGE_BYTES = 8192
# Headings kept; a page with more is a list, and its title says what of.
MAX_HEADINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose data it is. The same subject at two issuers is two people; so is one subject in two tenants."""

    issuer: str
    subject: str
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The verified user."""

    id: str
    issuer: str
    name: str | None = None
    email: str | None = None
    roles: tuple[str, ...] = ()
    tenant: str | None = None

    @property
    def owner(self) -> Owner:
        return Owner(issuer=self.issuer, subject=self.id, tenant=self.tenant or "")

    @property
    def digest(self) -> str:
        """A short name for logs that gives nobody away: of SHA-256 over issuer and subject, 12 hex digits."""
        return hashlib.sha256(f"{self.issuer}\n{self.id}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """The page the user is on, as their browser tells it: untrusted."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    description: str | None = None
    headings: tuple[str, ...] = ()
    selection: str | None = None

    def facts(self) -> dict[str, Any]:
        """The texts that are there, in the order of the fields."""
        named = {name: getattr(self, name) for name in ("url", "path", "title", "description", "selection")}
        facts: dict[str, Any] = {name: value for name, value in named.items() if value}
        return {**facts, "headings": list(self.headings)} if self.headings else facts


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """One verified request. ``notes`` gathers what its log line will say; it is no part of the request's identity.

    ``claims`` are the assertion's, judged: what was said about this request, for who wants to show it.
    ``lease`` is the name by which a turn holds its thread; the store refuses writes of a turn that lost it.
    ``last_known``: what a turn last read or saved, by id: its thread, see `SqlStore.begin_turn`, and widgets.
    """

    user: User
    request_id: str
    locale: str | None = None
    page: PageContext | None = None
    token: str | None = field(default=None, repr=False)
    body: bytes = field(default=b"", repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    lease: str | None = field(default=None, repr=False)
    notes: dict[str, str | int] = field(default_factory=dict, repr=False, compare=False)
    last_known: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def owner(self) -> Owner:
        return self.user.owner


def read_page(metadata: Mapping[str, Any], *, max_bytes: int = MAX_PAGE_BYTES) -> PageContext | None:
    """The page in a body's ``metadata``, or None. What is not text is left out; what is too long is cut.

    Args:
        metadata: the body's top-level ``metadata`` object; ``pageContext`` in it is whatever the page sent.
        max_bytes: limit over all texts together, spent in the order of the fields, so the selection goes last.
    """
    page = metadata.get("pageContext")
    if not isinstance(page, Mapping):
        return None
    budget = Budget(max_bytes)
    texts = {name: budget.take(page.get(name)) for name in ("url", "path", "title", "description")}
    listed = page.get("headings")
    headings = tuple(filter(None, map(budget.take, listed[:MAX_HEADINGS]))) if isinstance(listed, list) else ()
    found = PageContext(**texts, headings=headings, selection=budget.take(page.get("selection")))
    return found if found.facts() else None


def read_locale(metadata: Mapping[str, Any]) -> str | None:
    """The locale the gateway settled on, or None."""
    gateway = metadata.get("gateway")
    locale = gateway.get("locale") if isinstance(gateway, Mapping) else None
    return locale if isinstance(locale, str) and locale else None


class Budget:
    """Bytes left to spend on texts."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, value: object) -> str | None:
        """The text, cut to what is left on a character's border; None when it is no text or nothing remains."""
        if not isinstance(value, str):
            return None
        kept = value.encode("utf-8", "replace")[: max(self.left, 0)]
        self.left -= len(kept)
        return kept.decode("utf-8", "ignore") or None
