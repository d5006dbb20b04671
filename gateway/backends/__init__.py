"""Where requests go: routes, the HTTP client, the relay of answers, health."""
