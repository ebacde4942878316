"""What makes two spellings one key: by which records are recognised as the same (*match by*), and users found.

Applied alike to what arrives and to what stands here, on every database. A key is compared only, never stored in a row.

============  ==========================================================================================================
letters       without regard to case; compatibility forms are their plain characters (NFKC); ё is е
spaces        of any kind and number count as one, none at the ends; invisible characters do not count
signs         all dashes are one, and so are all quotation marks
phones        digits alone, behind them an extension: ``+7 (495) 123-45-67 доб. 8`` = ``8 495 1234567 x8``. A Russian
              number may begin with +7, 7 or 8, or with its area code in brackets
numbers       tax numbers and the like, nine digits or more, without spaces, dashes, dots and slashes between them, and
              with up to six Latin letters (``DE 123 456 789``). One that has a year for a part keeps its signs: in
              ``2026-1-11-12`` they are what tells it from ``2026-11-1-12``
amounts       thousands without spaces, a point for the comma: ``1 200,50`` = ``1200.50``
============  ==========================================================================================================

Other kinds of values have one form already. Null and an empty text are no keys: they match nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from syncapp.core.kinds import Kind

#: Grows whenever a rule above changes: stored keys are then made anew.
RULES = 1

_INVISIBLE = dict.fromkeys(
    (
        0xAD,
        0x34F,
        0x61C,
        0x180E,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        0xFEFF,
    )
)
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d\ufe58\ufe63", "-"),
        **dict.fromkeys("«»“”„‟″＂", '"'),
        **dict.fromkeys("‘’‚‛′`´＇", "'"),
        "ё": "е",
    }
)

_PHONE = re.compile(
    r"(?P<plus>\+?)(?P<number>[\d(][\d ().-]*)"
    r"(?:[ ,;]*(?:доб|доп|вн|ext|extension|x|#)[. :]*(?P<extension>\d{1,6}))?",
    re.ASCII,
)
_CODE = re.compile(r"\( ?\d{3,5} ?\)", re.ASCII)
_IDENTIFIER = re.compile(r"[a-z\d][a-z\d ./-]*[a-z\d]", re.ASCII)
_LETTER = re.compile(r"[a-z]", re.ASCII)
_DIGIT = re.compile(r"\d", re.ASCII)
_BETWEEN = re.compile(r"[ ./-]")
_YEAR = re.compile(r"(?<![a-z\d])(?:19|20)\d\d(?![a-z\d])", re.ASCII)
_AMOUNT = re.compile(r"(-?\d{1,3}(?: \d{3})+|-?\d+)[.,](\d+)", re.ASCII)

_RUSSIAN = 11
#: What area codes of +7 begin with: other numbers of eleven digits that begin with 8 are no phones.
_RUSSIAN_CODES = "34789"
_PHONE_DIGITS = range(7, 16)
_IDENTIFIER_DIGITS, _IDENTIFIER_LETTERS = 9, 6


def key_of(kind: Kind, value: Any) -> Any:
    """``value`` as it is compared; None, which matches nothing, where there is nothing to compare."""
    if kind is not Kind.TEXT or not isinstance(value, str):
        return value
    text = fold(value)
    if not text:
        return None
    return _number(text) if _DIGIT.search(text) else text


def fold(value: str) -> str:
    """A text without what people take for the same: case, forms of letters and signs, spaces."""
    if not value.isascii():
        value = unicodedata.normalize(
            "NFKC", unicodedata.normalize("NFKC", value.translate(_SIGNS)).casefold()
        )
        value = value.translate(_INVISIBLE).translate(_SIGNS)
    return " ".join(value.casefold().split())


def _number(text: str) -> str:
    """A folded text that has digits: without what only makes them readable."""
    return _phone(text) or _amount(text) or _identifier(text) or text


def _phone(text: str) -> str:
    found = _PHONE.fullmatch(text)
    if found is None:
        return ""
    digits = "".join(_DIGIT.findall(found["number"]))
    if len(digits) not in _PHONE_DIGITS:
        return ""
    code = _CODE.search(found["number"])
    if not found["plus"] and len(digits) == _RUSSIAN and digits[0] == "8" and digits[1] in _RUSSIAN_CODES:
        digits = f"7{digits[1:]}"
    elif not found["plus"] and len(digits) == _RUSSIAN - 1 and code:
        digits = f"7{digits}"
    elif not (found["plus"] or code or (len(digits) == _RUSSIAN and digits[0] == "7")):
        return ""
    return f"{digits}x{found['extension']}" if found["extension"] else digits


def _amount(text: str) -> str:
    found = _AMOUNT.fullmatch(text)
    return f"{found[1].replace(' ', '')}.{found[2]}" if found else ""


def _identifier(text: str) -> str:
    if _IDENTIFIER.fullmatch(text) is None:
        return ""
    many, letters = len(_DIGIT.findall(text)), len(_LETTER.findall(text))
    if many < _IDENTIFIER_DIGITS or letters > _IDENTIFIER_LETTERS:
        return ""
    if _YEAR.search(text):
        # A date within: only spaces can be left out without a loss.
        return text.replace(" ", "") if not set(text) & set("./-") else text
    return _BETWEEN.sub("", text)
