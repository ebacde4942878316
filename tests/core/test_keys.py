"""Spellings that are one key, and those that must not become one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncapp.core.keys import fold, key_of
from syncapp.core.kinds import Kind

ONE: list[list[str]] = [
    ["Ann Lee", "  ann   LEE ", "ANN\u00a0lee", "Ann\tLee\n", "Ａｎｎ Ｌｅｅ"],
    ["Семёнов", "СЕМЕНОВ", "семе\u0308нов"],
    ["йод", "и\u0306од"],
    ["Straße", "STRASSE"],
    ["ООО «Ромашка»", 'ооо "Ромашка"', "ООО “Ромашка”"],
    ["Иванов-Петров", "иванов–петров", "Иванов\u2011Петров"],
    ["O’Neil", "o'neil"],
    ["so\u00adft", "so\u200bft", "soft"],
    ["№ 5", "No 5"],
    [
        "+7 (495) 123-45-67",
        "8 495 1234567",
        "84951234567",
        "7 495 123 45 67",
        "(495) 123-45-67",
        "+74951234567",
    ],
    ["8-916-123-45-67", "+7 916 123 45 67", "79161234567"],
    ["8 (727) 250-00-00", "+7 727 250 00 00"],
    [
        "+7 495 123-45-67 доб. 8",
        "8 (495) 123-45-67, доб 8",
        "84951234567 ext. 8",
        "+7 495 1234567 x8",
        "74951234567#8",
    ],
    ["+49 30 1234567", "+49 (30) 123-45-67"],
    ["7701234567", "7701 234567", "7701-234-567", "77 01 234 567", "7701\u2013234567"],
    ["112-233-445 95", "11223344595"],
    ["DE 123 456 789", "de123456789", "DE-123456789"],
    ["12.345.678/0001-95", "12345678000195"],
    ["1 200,50", "1200.50", "1\u00a0200,50"],
]
DIFFERENT: list[tuple[str, str]] = [
    ("Иванов", "Иваньков"),
    ("Ann Lee", "AnnLee"),
    ("1-2", "12"),
    ("123-45-67", "1234567"),
    ("2026-1-11-12", "2026-11-1-12"),
    ("1.11.2026/12", "11.1.2026/12"),
    ("INV-2026-0001", "INV-20260001"),
    ("+7 495 123-45-67", "+7 495 123-45-68"),
    ("+7 495 123-45-67 доб. 8", "+7 495 123-45-67"),
    ("+7 495 123-45-67 доб. 8", "+7 495 123-45-67 доб. 9"),
    ("+8 495 123-45-67", "+7 495 123-45-67"),
    ("81234567890", "71234567890"),
    ("7701234567", "770123456"),
    ("007", "7"),
    ("1.10", "1.1"),
    ("A-100", "A100"),
]


@pytest.mark.parametrize("spellings", ONE, ids=lambda spellings: spellings[0])
def test_one_key(spellings: list[str]) -> None:
    assert len({key_of(Kind.TEXT, text) for text in spellings}) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_keys(one: str, other: str) -> None:
    assert key_of(Kind.TEXT, one) != key_of(Kind.TEXT, other)


@pytest.mark.parametrize("empty", ["", "   ", "\u00a0", "\u200b", None])
def test_nothing_matches_nothing(empty: str | None) -> None:
    assert key_of(Kind.TEXT, empty) is None


@pytest.mark.parametrize(
    ("kind", "value"), [(Kind.INTEGER, 5), (Kind.DECIMAL, "12.50"), (Kind.UUID, "A"), (Kind.RELATION, "7")]
)
def test_other_kinds_have_one_form_already(kind: Kind, value: Any) -> None:
    assert key_of(kind, value) == value


texts = st.text() | st.text("0123456789 -+()./xдобё,", max_size=25) | st.from_regex(r"[+8]?[\d ()-]{8,16}")


@given(texts)
def test_a_key_is_its_own_key(text: str) -> None:
    """Else a key that was made of a key would be another one, and pairs would depend on the way."""
    key = key_of(Kind.TEXT, text)
    assert key is None or fold(key) == key


@given(texts)
def test_case_and_spaces_never_matter(text: str) -> None:
    assert fold(f" {fold(text)}  ") == fold(text)
    assert key_of(Kind.TEXT, f"\u00a0{text}\t") == key_of(Kind.TEXT, text)


@given(st.text("0123456789", min_size=9, max_size=14), st.data())
def test_spaces_within_a_number_never_matter(digits: str, data: st.DataObject) -> None:
    spaced = "".join(digit + data.draw(st.sampled_from(["", " ", "\u00a0"])) for digit in digits)
    assert key_of(Kind.TEXT, spaced) == key_of(Kind.TEXT, digits)
