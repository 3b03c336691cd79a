"""What a browser needs to know of the protocol, made from the Python that defines it: `static/wire.js`.

Names, flags, limits, codes and JSDoc types come by introspection of the structs: there is one schema, not two.
The file is committed (there is no build step), and a test fails when it is stale.

    python -m chatd.wire.generate            write static/wire.js
    python -m chatd.wire.generate --check    exit with 1 when it is not what would be written
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from chatd.domain import commands, events
from chatd.domain.limits import Limits
from chatd.errors import ChatError, every_error
from chatd.wire.codes import CloseCode
from chatd.wire.frames import SUBPROTOCOLS, VERSION, Hello

DESTINATION = Path(__file__).resolve().parents[2] / "static" / "wire.js"

_LINE_CHARACTERS = 120

_HEAD = """\
// @ts-check
/**
 * The names, limits and codes of the protocol (docs/protocol.md) and the shapes of its frames.
 * Made by `python -m chatd.wire.generate` from the structs of chatd/domain; do not edit.
 */
"""


def generate() -> str:
    """The whole text of `static/wire.js`. The same code always gives the same text."""
    requests = {
        "COMMANDS": (commands.CUSTOMER_COMMANDS, commands.STAFF_COMMANDS),
        "QUERIES": (commands.CUSTOMER_QUERIES, commands.STAFF_QUERIES),
        "SIGNALS": (commands.CUSTOMER_SIGNALS, commands.STAFF_SIGNALS),
    }
    roots: list[type[Any]] = [Hello]
    parts = [
        _HEAD,
        f"export const VERSION = {VERSION};",
        f"export const SUBPROTOCOLS = Object.freeze({json.dumps(list(SUBPROTOCOLS))});\n",
    ]
    for name, (customer, staff) in requests.items():
        every = list(dict.fromkeys([*customer, *staff]))
        roots += every
        table = {_tag(one): {"customer": one in customer, "staff": one in staff} for one in every}
        parts.append(_table(name, table, f"The {name.lower()} that a client may send, and whose they are."))
    said = {struct.cls for struct in _structs(roots)}
    roots += events.EVENT_TYPES
    parts.append(
        _table(
            "EVENTS",
            {_tag(one): {"public": one.public, "in_thread": one.in_thread} for one in events.EVENT_TYPES},
            "What happens; public events reach the customer too, those in the thread come back with the history.\n"
            "(`cart_changed` stands in the thread only when it has changes to tell.)",
        )
    )
    parts.append(
        _comment("What a conversation may be about.")
        + "\nexport const TOPICS = Object.freeze([\n"
        + "".join(f"  {json.dumps(topic)},\n" for topic in commands.TOPICS)
        + "]);\n"
    )
    parts.append(
        _table(
            "LIMITS",
            msgspec.to_builtins(Limits()),
            "The limits as they are unless an operator changes them; a welcome brings those that hold.",
        )
    )
    parts.append(
        _table(
            "ERRORS",
            {error.code: {"temporary": error.temporary} for error in every_error() if error is not ChatError},
            "Why a command or query is refused; a temporary refusal may be sent again as it is.",
        )
    )
    parts.append(
        _table(
            "CLOSE_CODES",
            {code.name.lower(): code.value for code in CloseCode},
            "Why a socket is closed: 4000 to 4499 mean come back, 4500 to 4999 mean do not.",
        )
    )
    parts += [_typedef(struct, said_by_clients=struct.cls in said) for struct in _structs(roots)]
    for name, (customer, staff) in requests.items():
        singular = {"COMMANDS": "Command", "QUERIES": "Query", "SIGNALS": "Signal"}[name]
        parts.append(_union(f"Customer{singular}", customer))
        parts.append(_union(f"Staff{singular}", staff))
    parts.append(_union("AnyEvent", events.EVENT_TYPES))
    return "\n".join(parts)


def _tag(struct: type[Any]) -> str:
    tag = types.type_info(struct).tag  # type: ignore[attr-defined]
    assert isinstance(tag, str)
    return tag


def _table(name: str, table: Any, words: str) -> str:
    lines = [f"  {key}: {_literal(value)}," for key, value in table.items()]
    return "\n".join([_comment(words), f"export const {name} = Object.freeze({{", *lines, "});", ""])


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key}: {_literal(one)}" for key, one in value.items()) + " }"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _comment(words: str, *tags: str) -> str:
    lines = [*words.splitlines(), *tags]
    if len(lines) == 1:
        return f"/** {lines[0]} */"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */"])


def _structs(roots: Iterable[type[Any]]) -> list[types.StructType]:
    """The roots and every struct in their fields, each once, what is used before its users."""
    found: dict[type[Any], types.StructType] = {}

    def visit(kind: types.Type) -> None:
        if isinstance(kind, types.StructType):
            for field in kind.fields:
                visit(field.type)
            found.setdefault(kind.cls, kind)
        elif isinstance(kind, types.Metadata):
            visit(kind.type)
        elif isinstance(kind, types.UnionType):
            for one in kind.types:
                visit(one)
        elif isinstance(kind, types.ListType):
            visit(kind.item_type)

    for root in roots:
        visit(types.type_info(root))
    return list(found.values())


def _typedef(struct: types.StructType, *, said_by_clients: bool) -> str:
    properties = []
    if struct.tag is not None:
        properties.append(f"@property {{{_literal(struct.tag)}}} {struct.tag_field}")
    # A client may leave out whatever has a default; chatd says it all, unless the struct omits defaults.
    may_omit = said_by_clients or struct.cls.__struct_config__.omit_defaults
    for field in struct.fields:
        name = f"[{field.encode_name}]" if may_omit and not field.required else field.encode_name
        properties.append(f"@property {{{_type(field.type)}}} {name}")
    # Struct makes a docstring of its own for a class without one; only what was written is worth repeating.
    words = inspect.cleandoc(struct.cls.__doc__ or "")
    return _comment(words, f"@typedef {{object}} {struct.cls.__name__}", *properties) + "\n"


def _union(name: str, members: Sequence[type[Any]]) -> str:
    text = f"@typedef {{{' | '.join(one.__name__ for one in members)}}} {name}"
    if len(text) + 7 <= _LINE_CHARACTERS:
        return _comment(text) + "\n"
    lines = [f"@typedef {{{members[0].__name__}"]
    for member in members[1:]:
        piece = f" | {member.__name__}"
        if len(lines[-1]) + len(piece) + 8 > _LINE_CHARACTERS:
            lines.append(" ")
        lines[-1] += piece
    return _comment("\n".join([*lines[:-1], f"{lines[-1]}}} {name}"])) + "\n"


def _type(kind: types.Type) -> str:
    """The JSDoc name of a type. Raises `TypeError` on one that the protocol has not used so far."""
    match kind:
        case types.Metadata():
            return _type(kind.type)
        case types.StrType():
            return "string"
        case types.IntType() | types.FloatType():
            return "number"
        case types.BoolType():
            return "boolean"
        case types.NoneType():
            return "null"
        case types.LiteralType():
            return " | ".join(json.dumps(value) for value in sorted(kind.values, key=str))
        case types.UnionType():
            return " | ".join(_type(one) for one in kind.types)
        case types.ListType():
            item = _type(kind.item_type)
            return f"({item})[]" if " | " in item else f"{item}[]"
        case types.StructType():
            return kind.cls.__name__
    raise TypeError(f"no JSDoc name is known for {kind!r}; add it to chatd/wire/generate.py")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chatd.wire.generate", description="Write static/wire.js.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the file is stale")
    parser.add_argument("--to", type=Path, default=DESTINATION, help="the file (default: %(default)s)")
    options = parser.parse_args(arguments)
    text = generate()
    if options.check:
        if options.to.exists() and options.to.read_text("utf-8") == text:
            return 0
        sys.stderr.write(f"{options.to} is stale; run python -m chatd.wire.generate\n")
        return 1
    options.to.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
