"""HTTP itself: the server, headers in and out, bodies, answers to errors, the access log."""
