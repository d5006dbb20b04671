"""The attacks as data: one module per section of the list, in the order they run. The logs come last."""

from tests.attack.row import Attack
from tests.attack.rows import (
    again,
    assertion,
    bodies,
    claims,
    connections,
    cookies,
    credentials,
    cross_site,
    encodings,
    exchanges,
    framing,
    headers,
    keys,
    logs,
    malformed,
    opaque,
    paths,
    rules,
    signed_urls,
    straight,
    tokens,
)

SECTIONS: dict[str, list[Attack]] = {
    "Tokens": [*tokens.ROWS, *encodings.ROWS],
    "Claims": claims.ROWS,
    "Keys": keys.ROWS,
    "Headers": [*headers.ROWS, *exchanges.ROWS],
    "Cookies and credentials": [*cookies.ROWS, *credentials.ROWS, *again.ROWS],
    "Cross-site": cross_site.ROWS,
    "Paths": paths.ROWS,
    "Framing": [*framing.ROWS, *connections.ROWS],
    "The assertion": [*assertion.ROWS, *straight.ROWS],
    "Bodies": [*bodies.ROWS, *malformed.ROWS],
    "Opaque routes and signed URLs": [*opaque.ROWS, *signed_urls.ROWS],
    "Rules": rules.ROWS,
    "Logs": logs.ROWS,
}
