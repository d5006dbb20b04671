"""Where threads, items, attachments and feedback are kept.

sql         SqlStore: ChatKit's Store on SQLAlchemy; every query filtered by owner
queries     what its statements are made of
swaps       a change that is right only if nobody else was faster
leases      one turn at a time in a thread, among all processes
tables      the tables
database    one URL in, one engine out; SQLite and PostgreSQL
schema      migrations shipped in `migrations/`, and the question whether they were run
ids         names nobody can guess
times       UTC in the database and on the wire
"""

from agent_backend.store.database import build_engine
from agent_backend.store.leases import Lease, Leases
from agent_backend.store.sql import SqlStore

__all__ = ["Lease", "Leases", "SqlStore", "build_engine"]
