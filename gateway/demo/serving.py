"""The gateway as `serve` runs it, with the demo page on top: `python -m gateway.demo.serving`.

Rules: settings, application and server are the product's own; the page's routes are all that is added.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.demo.page import build_page_routes
from gateway.serving import serve
from gateway.settings import SettingsError, load_settings
from gateway.wire.logs import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns the exit status: 0 after a drain, 2 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.serving", description="The gateway, in demo mode.")
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--issuer", required=True, help="where people sign in")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.settings)
    except SettingsError as exc:
        print("\n".join(exc.problems), file=sys.stderr)
        return 2
    configure_logging(settings.log.format, settings.log.level)
    page = build_page_routes(gateway_url=settings.public_url, issuer_url=options.issuer)
    return serve(settings, extra_routes=page)


if __name__ == "__main__":
    sys.exit(main())
