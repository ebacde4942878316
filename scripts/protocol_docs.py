"""Writes the generated parts of docs/protocol.md: the states of a session, the messages, the codes of errors.

They come from `syncapp.core.states`, the message structs and `syncapp.errors`, between the document's markers.
With ``--check`` it only says whether the document is up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from enum import Enum
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from syncapp import errors  # noqa: E402
from syncapp.core import changes, mapping, messages  # noqa: E402
from syncapp.core.messages import Bye  # noqa: E402
from syncapp.core.states import ANSWERS, LEADS_TO, TRANSITIONS, State  # noqa: E402

DOCUMENT = ROOT / "docs" / "protocol.md"
STRUCTS = (
    messages.Limits,
    messages.Known,
    changes.Cursor,
    changes.Batch,
    changes.Section,
    changes.Row,
    changes.WireVersion,
    changes.Totals,
    changes.Fate,
    mapping.TableOffer,
    mapping.FieldOffer,
    mapping.FieldType,
)


def state_diagram() -> str:
    """The session's states as a Mermaid diagram: messages that come, and answers of the program itself."""
    lines = ["```mermaid", "stateDiagram-v2", "  [*] --> start: active", "  [*] --> await_open: passive"]
    lines += [f'  state "{state.value}" as {_id(state)}' for state in State if " " in state.value]
    for (state, message), leads in LEADS_TO.items():
        lines.append(f"  {_id(state)} --> {_id(leads)}: {message.__name__}")
    for (state, answer), leads in ANSWERS.items():
        lines.append(f"  {_id(state)} --> {_id(leads)}: ({answer})")
    stay = [(state, message) for state, message in TRANSITIONS if (state, message) not in LEADS_TO]
    by_state: dict[State, list[str]] = {}
    for state, message in stay:
        if message is not Bye:
            by_state.setdefault(state, []).append(message.__name__)
    lines += [f"  {_id(state)} --> {_id(state)}: {', '.join(names)}" for state, names in by_state.items()]
    lines += [f"  {_id(State.LIVE)} --> {_id(State.CLOSED)}: Bye, silence, anything unexpected", "```"]
    return "\n".join(lines)


def _id(state: State) -> str:
    return state.value.replace(" ", "_")


def message_reference() -> str:
    """Every message with its elements in order."""
    parts = [_describe(kind, number=1) for kind in typing.get_args(messages.Message)]
    return "\n\n".join(parts)


def struct_reference() -> str:
    """The structures within messages."""
    return "\n\n".join(_describe(kind, number=0) for kind in STRUCTS)


def _describe(kind: type[msgspec.Struct], *, number: int) -> str:
    info = kind.__struct_config__
    title = f'`"{info.tag}"`' if info.tag else kind.__name__
    text = inspect.cleandoc(kind.__doc__ or "").replace("``", "`")
    shape = "array" if info.array_like else "map (keys are the names; what has its default may be left out)"
    lines = [f"#### {title}", "", text if _has_prose(kind) else "", "", f"{shape.capitalize()}:", ""]
    lines += ["| # | element | type | default |", "|---|---|---|---|"]
    if number:
        lines.append(f'| 0 | | `"{info.tag}"` | |')
    for i, field in enumerate(msgspec.structs.fields(kind), number):
        lines.append(f"| {i} | {field.name} | `{_type(field.type)}` | {_default(field)} |")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _has_prose(kind: type[msgspec.Struct]) -> bool:
    return bool(kind.__doc__) and not (kind.__doc__ or "").startswith(f"{kind.__name__}(")


def _type(kind: object) -> str:
    """A type as people write it: names without their modules."""
    if isinstance(kind, type) and not typing.get_args(kind):
        if issubclass(kind, Enum):
            return "text"
        return {"str": "text", "NoneType": "nil", "int": "int", "bytes": "bytes", "bool": "bool"}.get(
            kind.__name__, kind.__name__
        )
    arguments = [a for a in typing.get_args(kind) if a is not Ellipsis]
    origin = typing.get_origin(kind)
    if origin in (list, tuple) and (origin is list or Ellipsis in typing.get_args(kind)):
        return f"[{_type(arguments[0])}, …]"
    if origin is tuple:
        return "[" + ", ".join(_type(a) for a in arguments) + "]"
    if origin is dict:
        return "map"
    if arguments:
        return " or ".join(_type(a) for a in arguments)
    return "any"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    if field.default is msgspec.NODEFAULT:
        return ""
    if isinstance(field.default, msgspec.Struct):
        return "empty"
    shown = {None: "nil", (): "empty", True: "true", False: "false", "": "empty"}
    return shown.get(field.default, f"`{field.default}`") if field.default.__hash__ else "empty"


def error_reference() -> str:
    """The codes that a peer may say in Bye, with their sentences."""
    lines = ["| code | permanent | sentence |", "|---|---|---|"]
    for base in (errors.RefusedError, errors.ProtocolError, errors.TransportError, errors.StoreError):
        for kind in _family(base):
            sentence = kind.template.replace("|", "\\|")
            lines.append(f"| `{kind.code}` | {'yes' if kind.permanent else 'no'} | {sentence} |")
    return "\n".join(lines)


def _family(base: type[errors.SyncError]) -> list[type[errors.SyncError]]:
    return [base, *(found for child in base.__subclasses__() for found in _family(child))]


PARTS = {
    "states": state_diagram,
    "messages": message_reference,
    "structures": struct_reference,
    "errors": error_reference,
}


def render(text: str) -> str:
    """``text`` with its generated parts renewed."""
    for name, part in PARTS.items():
        pattern = re.compile(f"(<!-- generated: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda m, part=part: f"{m[1]}\n{part()}\n\n{m[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise SystemExit(f"{DOCUMENT}: the markers of the part {name!r} are missing")
    return text


def main(arguments: list[str]) -> int:
    """Write the document, or check it."""
    text = DOCUMENT.read_text("utf-8")
    wanted = render(text)
    if "--check" in arguments:
        if text != wanted:
            print(f"{DOCUMENT.relative_to(ROOT)} is not up to date: make docs")
            return 1
        return 0
    DOCUMENT.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
