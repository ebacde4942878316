"""Hints on PostgreSQL (``NOTIFY``) that something of ours was committed: see docs/decisions/0020.

They carry nothing, may be missing, and must never make a commit fail.
"""

from __future__ import annotations

#: Channels: the journal has new rows; the feed has grown.
JOURNAL, HEAD = "syncapp", "syncapp_head"

#: When a transaction may notify at all. A listener of somebody else's that has fallen asleep fills the server's queue,
#: and then commits fail; and no transaction that has notified can be prepared for a commit in two phases.
POSSIBLE = "pg_notification_queue_usage() < 0.5 AND current_setting('max_prepared_transactions') = '0'"

#: Of code that has something for the engine to look at.
FROM_CODE = f"SELECT pg_notify('{JOURNAL}', '') WHERE {POSSIBLE}"

#: Of a trigger, in PL/pgSQL. Commits that notify follow each other one by one in the whole server: who gets the lock
#: does it, and who does not leaves it to the one who has it, without waiting.
FROM_TRIGGER = (
    f"PERFORM pg_notify('{JOURNAL}', '') WHERE {POSSIBLE} AND pg_try_advisory_xact_lock(1937337955, 2)"
)
