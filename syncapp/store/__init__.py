"""The database: journal, feed, apply, peers, identity and catalogue.

`Store` (in `store.store`) decides with `core` and speaks to a `Backend`: `sql` for Django's databases, `memory` as
its twin. Both pass the same tests.
"""
