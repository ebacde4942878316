"""What tests of triggers link, on every database."""

from __future__ import annotations

import pytest

from tests.store.linked import Linked, link_fields


@pytest.fixture
def linked() -> Linked:
    return link_fields(
        {
            "crm.Client": ["name", "phone", "tags", "record_status"],
            "crm.Tag": ["name"],
            "crm.Order": ["number", "client", "amount"],
            "crm.Invoice": ["number", "amount", "paid"],
        }
    )


@pytest.fixture
def logged() -> Linked:
    return link_fields({"crm.Client": ["name", "phone", "manager"]}, log=True)
