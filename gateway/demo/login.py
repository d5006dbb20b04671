"""The development issuer's login page, and where it may send people back to.

Rules: plain HTML that works without a script; everything from the request is escaped; the style is allowed by its
hash, so that the policy needs no `unsafe-inline`. Pure: no requests, no keys, no clock.
"""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from gateway.demo.people import Person

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 26rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.4rem; }
.notice { border-left: 4px solid #b45309; padding: .25rem .75rem; }
ul { list-style: none; padding: 0; display: grid; gap: .5rem; }
button { width: 100%; padding: .75rem; font: inherit; text-align: left; cursor: pointer; border-radius: .5rem;
  border: 1px solid GrayText; background: Canvas; color: CanvasText; }
button:hover { background: Highlight; color: HighlightText; }
button:focus-visible, select:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
strong { display: block; }
select { font: inherit; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in - development issuer</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Who do you want to be?</h1>
<p class="notice">This sign-in is for development only: there are no passwords, and it must never face the internet.</p>
<form method="post" action="/login">
<input type="hidden" name="return_to" value="{return_to}">
<ul>
{buttons}
</ul>
<p><label>Token signed with <select name="alg">{options}</select></label></p>
</form>
</main>
</body>
</html>
"""

BUTTON = """<li><button name="user" value="{id}"><strong>{name}</strong>{email} &middot; {roles}</button></li>"""


def render_login(people: Iterable[Person], *, return_to: str, algorithms: Iterable[str], chosen: str) -> str:
    """The login page: one button per person; ``chosen`` is the algorithm that stands first."""
    return PAGE.format(
        style=STYLE,
        return_to=escape(return_to),
        buttons="\n".join(render_person(person) for person in people),
        options="".join(render_option(name, selected=name == chosen) for name in algorithms),
    )


def render_person(person: Person) -> str:
    roles = ", ".join(person.roles)
    return BUTTON.format(
        id=escape(person.id), name=escape(person.name), email=escape(person.email), roles=escape(roles)
    )


def render_option(name: str, *, selected: bool) -> str:
    return f"<option{' selected' if selected else ''}>{escape(name)}</option>"


def login_policy(gateway_url: str) -> str:
    """The page's Content-Security-Policy. Browsers hold `form-action` against the redirect's target as well."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self' {gateway_url}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def is_return_allowed(return_to: str, gateway_url: str) -> bool:
    """Is this a URL of the gateway?

    ``gateway_url`` has no trailing slash. The slash after it ends the authority, so that neither
    `http://127.0.0.1:80801/` nor `http://127.0.0.1:8080@evil.test/` passes.
    """
    return return_to == gateway_url or return_to.startswith(f"{gateway_url}/")
