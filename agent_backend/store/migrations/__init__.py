"""Alembic migrations, run by `agent_backend migrate`; see `schema`."""
