"""Two programs with one identity: a copy of a database that is run beside the original.

Each conversation has a token that the program's database counts up, whichever of its processes converses. As each side
takes its own lease before it answers (`store.meeting`), a peer's tokens only ever grow, in all of its processes
together. One that does not grow tells that the peer's database is not the one that was met last:

- from a process not met before, it was restored from a backup, or it is a copy that speaks for the first time;
- from one that was met before another one took over, there are two of them. Both are refused for a while, longer as
  long as both go on calling.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from syncapp import errors
from syncapp.core.messages import Hello
from syncapp.store.base import Contacts, Holder

#: So many processes of a peer are remembered.
HOLDERS = 8
#: How long both are refused, µs: longer than the longest pause between two attempts of either.
REFUSED_FOR = 120_000_000


def judge(contacts: Contacts, hello: Hello, now: int, remote: str) -> errors.SyncError | None:
    """Whether the peer that says ``hello`` may be two; notes it in ``contacts``, which are to be saved in any case.

    Returns `errors.Twin`, or `errors.RestoredThere` where its database is an older one than before.
    """
    if not hello.token:
        return None
    newest = contacts.token
    known = {holder.boot: holder for holder in contacts.holders}
    mine, last = known.get(hello.boot), _last(contacts)
    older = hello.token <= newest
    # Whoever had the newest token may be gone by now: then this one was restored and has not heard of that token.
    after = last is not None and last.boot != hello.boot and not last.left
    returned = mine is not None and (mine.left or (older and after))
    if older and mine is None:  # whoever was met before has lost its database: none of them will come back
        known = {boot: msgspec.structs.replace(holder, left=True) for boot, holder in known.items()}
    if returned:
        known = {boot: msgspec.structs.replace(holder, left=False) for boot, holder in known.items()}
        contacts.refused_until = now + REFUSED_FOR
    known[hello.boot] = Holder(hello.boot, hello.token, now, hello.title[:100], _host(hello, remote))
    contacts.holders = tuple(sorted(known.values(), key=lambda holder: holder.at)[-HOLDERS:])
    contacts.token = max(newest, hello.token)
    if now < contacts.refused_until:
        return _twin(contacts, hello.boot)
    return errors.RestoredThere() if older else None


def _last(contacts: Contacts) -> Holder | None:
    """Whose token was the newest."""
    return next((holder for holder in contacts.holders if holder.token == contacts.token), None)


def _host(hello: Hello, remote: str) -> str:
    where = [part for part in (hello.host, hello.url, remote) if part]
    return ", ".join(dict.fromkeys(where))[:300]


def _twin(contacts: Contacts, boot: bytes) -> errors.Twin:
    """Names the one that calls and the one that was there last beside it."""
    second = next(holder for holder in contacts.holders if holder.boot == boot)
    others = [holder for holder in contacts.holders if holder.boot != boot]
    first = others[-1] if others else second
    return errors.Twin(
        first=first.title,
        first_host=first.host,
        first_at=at_text(first.at),
        second=second.title,
        second_host=second.host,
        second_at=at_text(second.at),
        seconds=REFUSED_FOR // 1_000_000,
    )


def at_text(at: int) -> str:
    """A moment (µs) as people read it anywhere."""
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
