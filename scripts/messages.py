"""Texts and their translations, without gettext's own programs.

``messages.py check``   every text in the sources is translated, and nothing else is
``messages.py update``  takes new texts into the ``.po`` files and drops those that are gone
``messages.py compile`` writes the ``.mo`` files that the program reads
"""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("ru",)
# Each has a `locale` folder for the texts of what lies under it, down to the next such folder.
DOMAINS = ("project", "project/crm", "syncapp")
KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "N_": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
HEADER = r"""msgid ""
msgstr ""
"Language: {language}\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: {plural}\n"

"""
COMMENT_TAGS = ["Translators:"]
PYTHON_PLACEHOLDER = re.compile(r"%\((\w+)\)|\{(\w+)[^}]*\}")


def sources(domain: Path) -> Iterator[Path]:
    """Give the files whose texts belong to ``domain``."""
    others = [
        ROOT / other for other in DOMAINS if ROOT / other != domain and domain in (ROOT / other).parents
    ]
    for path in sorted([*domain.rglob("*.py"), *domain.rglob("templates/**/*.html")]):
        if not any(other in path.parents for other in others) and "static" not in path.parts:
            yield path


def extracted(domain: Path) -> Catalog:
    """Read the texts out of the sources of ``domain``."""
    catalog = Catalog(project="syncapp", charset="utf-8")
    for path in sources(domain):
        text = path.read_text()
        if path.suffix == ".html":
            # Django turns a template into near-Python; in parentheses its indentation means nothing.
            text = f"({templatize(text, origin=str(path))}\n)"
        found = extract("python", io.BytesIO(text.encode()), KEYWORDS, COMMENT_TAGS)
        for line, message, comments, context in found:
            place = (str(path.relative_to(ROOT)), line)
            catalog.add(message, None, [place], auto_comments=comments, context=context)
    return catalog


def po_path(domain: Path, language: str) -> Path:
    """Give the place of a language's translations."""
    return domain / "locale" / language / "LC_MESSAGES" / "django.po"


def read(path: Path, language: str) -> Catalog:
    """Read translations; an empty catalogue when there are none yet."""
    if not path.exists():
        return Catalog(locale=language, project="syncapp", charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def texts(catalog: Catalog) -> dict[tuple[str | None, str], Message]:
    """Give the messages of a catalogue, its header left out, by context and text."""
    return {
        (message.context, message.id if isinstance(message.id, str) else message.id[0]): message
        for message in catalog
        if message.id
    }


def faults(domain: Path, language: str) -> Iterator[str]:
    """Say what is wrong with the translations of ``domain``."""
    path = po_path(domain, language)
    wanted = texts(extracted(domain))
    if not wanted and not path.exists():
        return
    present = texts(read(path, language))
    place = path.relative_to(ROOT)
    for key in wanted.keys() - present.keys():
        yield f"{place}: missing: {key[1]!r} ({wanted[key].locations[0][0]})"
    for key in present.keys() - wanted.keys():
        yield f"{place}: no longer in the sources: {key[1]!r}"
    for key in wanted.keys() & present.keys():
        yield from (f"{place}: {fault}: {key[1]!r}" for fault in message_faults(present[key]))


def message_faults(message: Message) -> Iterator[str]:
    """Say what is wrong with one translation."""
    translations = [message.string] if isinstance(message.string, str) else list(message.string or [""])
    if not all(translations):
        yield "not translated"
        return
    if message.fuzzy:
        yield "marked as fuzzy"
    originals = [message.id] if isinstance(message.id, str) else list(message.id)
    # One form of a plural may well leave the number out ("one client"), so only strangers are wrong there.
    allowed = set().union(*map(placeholders, originals))
    for translation in translations:
        used = placeholders(translation)
        if used - allowed or (len(translations) == 1 and used != allowed):
            yield f"placeholders differ: {sorted(allowed)} and {sorted(used)}"


def placeholders(text: str) -> set[str]:
    """Give the names that are filled in at run time."""
    return {first or second for first, second in PYTHON_PLACEHOLDER.findall(text)}


def check() -> int:
    """Print every fault; 1 when there is one."""
    found = [
        fault for domain in DOMAINS for language in LANGUAGES for fault in faults(ROOT / domain, language)
    ]
    for fault in sorted(found):
        print(f"messages: {fault}", file=sys.stderr)
    if found:
        print("messages: 'make messages' takes new texts in; then translate them", file=sys.stderr)
    return min(len(found), 1)


def update() -> int:
    """Bring the ``.po`` files to what the sources say, keeping the translations."""
    for domain in DOMAINS:
        template = extracted(ROOT / domain)
        for language in LANGUAGES:
            path = po_path(ROOT / domain, language)
            if not len(template) and not path.exists():
                continue
            catalog = read(path, language)
            catalog.update(template, no_fuzzy_matching=True)
            catalog.obsolete.clear()
            path.parent.mkdir(parents=True, exist_ok=True)
            # Neither line numbers nor dates: otherwise every edit of a source would change these files.
            body = io.BytesIO()
            write_po(body, catalog, width=110, sort_output=True, include_lineno=False, omit_header=True)
            header = HEADER.format(language=language, plural=catalog.plural_forms)
            path.write_text(header + body.getvalue().decode())
    return 0


def compile_all() -> int:
    """Write the ``.mo`` file beside each ``.po`` file."""
    for path in sorted(path for domain in ("project", "syncapp") for path in (ROOT / domain).rglob("*.po")):
        with path.open("rb") as source, path.with_suffix(".mo").open("wb") as target:
            write_mo(target, read_po(source))
    return 0


def main(arguments: list[str]) -> int:
    """Run the action that is named."""
    actions = {"check": check, "update": update, "compile": compile_all}
    if len(arguments) != 1 or arguments[0] not in actions:
        print(__doc__, file=sys.stderr)
        return 2
    settings.configure(USE_I18N=True)  # templatize() reads a template as Django does
    return actions[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
