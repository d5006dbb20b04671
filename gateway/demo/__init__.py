"""For `make demo` only: a development issuer, a page to chat on, a supervisor. Never imported by `serve`."""
