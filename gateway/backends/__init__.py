"""Where requests go: routes, replicas and how they stand, the HTTP client, the relay of answers."""
