"""What is checked against the other program's catalogue, once that is known."""

import msgspec
import pytest

from syncapp.core.mapping import FieldOffer, FieldType, Kind, TableOffer
from syncapp.errors import ConfigRefused
from syncapp.models import LinkState, Mapping
from syncapp.store import config

pytestmark = pytest.mark.django_db

TEXT = FieldType(Kind.TEXT)
PEER = (
    TableOffer(
        7,
        "shop.Buyer",
        "buyer",
        (
            FieldOffer(70, "title", "", FieldType(Kind.TEXT, length=200)),
            FieldOffer(71, "short", "", FieldType(Kind.TEXT, length=10)),
            FieldOffer(72, "born", "", FieldType(Kind.DATE)),
            FieldOffer(74, "translated", "", FieldType(Kind.INTEGER), options=("a",)),
            FieldOffer(73, "consented", "", FieldType(Kind.TEXT, length=10), lossy=True),
        ),
    ),
    TableOffer(
        8,
        "crm.Client",
        "client",
        (
            FieldOffer(80, "name", "", FieldType(Kind.TEXT, length=200)),
            FieldOffer(81, "note", "", FieldType(Kind.INTEGER)),
        ),
    ),
)
HEAD = """
[[link]]
name = "Branch"
mode = "passive"
password = "x"
[[link.table]]
table = "crm.Client"
[link.table.fields]
"""


@pytest.fixture(autouse=True)
def known_peer(db: None) -> None:
    config.apply(HEAD, env={})
    LinkState.objects.update(peer_catalogue=msgspec.msgpack.encode(PEER))


def refused(field: str) -> str:
    with pytest.raises(ConfigRefused) as caught:
        config.apply(HEAD + field, env={})
    assert not Mapping.objects.exists()
    assert len(caught.value.errors) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("peer = 99", "the other program offers no field No. 99."),
        ('peer = "shop.Buyer.nothing"', 'the other program offers no field "shop.Buyer.nothing".'),
        ('peer = "nothing"', 'the other program offers no field "crm.Client.nothing".'),
        (
            'peer = 72, map = { a = "b" }',
            "types differ (text(200) here, date there) and cannot be linked.",
        ),
        ('peer = 74, map = { a = "b" }', "both programs translate its values by a map."),
        ("peer = 72", "types differ (text(200) here, date there) and cannot be linked."),
        (
            "peer = 71",
            "values would lose something on the way (text(200) here, text(10) there): texts are cut to 10 characters.",
        ),
        (
            'peer = "SHOP.buyer.short"',
            "values would lose something on the way (text(200) here, text(10) there): texts are cut to 10 characters.",
        ),
    ],
)
def test_a_pair_that_does_not_fit(field: str, sentence: str) -> None:
    assert refused(f'name = {{ direction = "both", {field} }}').startswith(
        f'Link "Branch", field "crm.Client.name": {sentence}'
    )


def test_a_field_of_the_same_name_is_compared_too() -> None:
    assert refused('note = "both"') == (
        'Link "Branch", field "crm.Client.note": types differ (text here, integer there) '
        "and cannot be linked."
    )


@pytest.mark.parametrize(
    "field",
    [
        'name = "both"',
        'name = { direction = "both", peer = 70 }',
        'name = { direction = "both", peer = "shop.Buyer.title" }',
        # From the shorter to the longer nothing is lost.
        'name = { direction = "download", peer = 71 }',
        'name = { direction = "upload", peer = 71, lossy = true }',
        'name = { direction = "upload", peer = 73 }',
        # The other program may name this field as the peer of one of its own.
        'phone = "both"',
        # What is off is not compared.
        'note = "off"',
    ],
)
def test_a_pair_that_fits(field: str) -> None:
    config.apply(HEAD + field, env={})


def test_one_field_of_the_other_program_for_two_here_by_number_and_by_name() -> None:
    name = 'name = { direction = "both", peer = 70 }'
    note = 'note = { direction = "download", peer = "shop.Buyer.title" }'
    assert "name the same field of the other program" in refused(f"{name}\n{note}")


def test_a_catalogue_that_cannot_be_read_forbids_nothing() -> None:
    LinkState.objects.update(peer_catalogue=b"\xc1")
    config.apply(HEAD + 'name = { direction = "both", peer = 99 }', env={})
