"""Threads, items and attachments in a database; every query is filtered by owner."""
