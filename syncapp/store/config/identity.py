"""Who this program is, and which program each of its links belongs to."""

from __future__ import annotations

import secrets
import time
from typing import Any

from django.db import transaction
from django.db.models import F

from syncapp.errors import UnknownLink
from syncapp.models import Instance, Link, LinkState, Mapping, Pair, Series
from syncapp.store.catalogue import bump, lock_instance

FORKED = (
    "The links of the other programs belong to the original. Make a new link for this program in each of them; or, "
    "where this one takes the place of the original, run there: syncconfig rebind LINK."
)


def rebind(link_name: str, *, using: str = "default") -> list[str]:
    """Forget which program a link is bound to: the next one that knows the password takes its place.

    Everything goes to that one from the beginning of the link on, also what came from the one before it.
    """
    with transaction.atomic(using=using):
        instance = lock_instance(using)
        link = Link.objects.using(using).filter(name=link_name).first()
        if link is None:
            names = Link.objects.using(using).order_by("pk").values_list("name", flat=True)
            raise UnknownLink(link=link_name, offer=", ".join(names) or "none")
        _forget_peer(instance, link, using)
        bump(using)
    return [f'Link "{link_name}": the program that it was bound to is forgotten.']


def fork(*, using: str = "default") -> list[str]:
    """Give this database a new identity: it was cloned from another program that goes on working.

    Records keep their names and their history: that is theirs, wherever they are. What the links remember of their
    peers is the original's.
    """
    with transaction.atomic(using=using):
        instance = lock_instance(using)
        Instance.objects.using(using).filter(pk=instance.pk).update(instance=secrets.token_bytes(16), epoch=1)
        for link in Link.objects.using(using).all():
            _forget_peer(instance, link, using)
            LinkState.objects.using(using).filter(link=link).update(lease_owner="", lease_until=0)
        # Numbers that were leased belong to the original.
        Series.objects.using(using).update(book=b"")
        bump(using)
    return ["This program has a new identity.", FORKED]


def _forget_peer(instance: Instance, link: Link, using: str) -> None:
    state = LinkState.objects.using(using).filter(link=link).first()
    if state is None:
        return
    counted = ("sent", "peer_applied", "peer_superseded", "peer_duplicate", "peer_parked")
    forgotten: dict[str, Any] = {
        **dict.fromkeys(
            ("peer_epoch", "applied_seq", "peer_head", "peer_token", "refused_until", *counted), 0
        ),
        **dict.fromkeys(("peer_title", "peer_software", "peer_url", "reason_code", "notice_code"), ""),
        **dict.fromkeys(("applied_tag", "acked_tag", "peer_catalogue"), b""),
        "peer_instance": None,
        "peer_holders": [],
        "suspended": [],
        "reason_params": {},
        "notice_params": {},
        "acked_seq": F("base_seq"),
        "scanned_seq": F("base_seq"),
        "again_seq": instance.head_seq,
        "again_parked": time.time_ns() // 1000,
    }
    LinkState.objects.using(using).filter(pk=state.pk).update(**forgotten)
    # The next peer may lack any record, and of the suspended fields whatever was sent before.
    Pair.objects.using(using).filter(link=link, left=0).update(left=1)
    late = Mapping.objects.using(using).filter(link=link, resume_seq__gt=state.base_seq)
    late.update(resume_seq=state.base_seq)
