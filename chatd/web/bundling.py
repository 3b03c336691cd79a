"""One file in place of a module and everything that it imports, for what people wait for.

The code of the faces is in many small files, one role a file; who is far away would wait for them round after round.
So chatd joins them when it reads them: each module becomes a function that is called once, in the order of the imports,
and its imports become constants. What a module fetches later by an address relative to its own (`import("./x.js")`,
`import.meta.url`) is found as before, also when the module stood in another folder than the entry.

It knows the forms of the house, `import { a, b as c } from "./x.js";`, `import "./x.js";` and `export` before a
declaration, and refuses every other with the place, so that what it does not understand is never served.

Style sheets are joined in the same way: one that names others, `@import "./x.css";` a line, is served as one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from chatd.web.slimming import slim

_IMPORT = re.compile(r"^import\s*(?:\{([^{}]*)\}\s*from\s*)?\"(\.[^\"]+)\";", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) ([A-Za-z_$][\w$]*))", re.MULTILINE)
_LATER = re.compile(r"\bimport\(([\"`])\./")
_OWN_ADDRESS = re.compile(r"\bimport\.meta\.url\b")
_SHEET_IMPORT = re.compile(r"^@import \"(\.[^\"]+)\";$", re.MULTILINE)
_SHEET_OTHER = re.compile(r"^@(?:import|charset|namespace)\b.*|\burl\((?!\s*[\"']?(?:data:|#)).*", re.MULTILINE)
_OTHER = re.compile(r"^(?:import\b(?!\s*\()|export\b).*", re.MULTILINE)


def bundle(entry: Path) -> str:
    """The text of a module that exports what `entry` does and imports nothing. Raises `ValueError` with the place when
    a module has another form, or imports itself by a detour."""
    order = imports_of(entry)
    parts = [_module(path, order) for path in order]
    names = ", ".join(_EXPORT.findall(_text(entry)))
    return "\n".join([*parts, f"export const {{ {names} }} = {_name(entry, order)};", ""])


def bundle_sheet(entry: Path) -> str:
    """The text of a style sheet with those that it imports in their places, at any depth, each where it is named first.
    Raises `ValueError` with the place for other rules that must stand at the beginning of a sheet, and for addresses
    relative to one."""
    seen: set[Path] = set()

    def joined(path: Path) -> str:
        if path in seen:
            return ""
        seen.add(path)
        text = _SHEET_IMPORT.sub(lambda match: joined((path.parent / match[1]).resolve()), _text(path))
        if other := _SHEET_OTHER.search(text):
            raise ValueError(f"{path}: cannot be bundled because of {other[0]!r}")
        return "\n".join(line for line in text.split("\n") if line)

    return joined(entry.resolve()) + "\n"


def imports_of(entry: Path) -> list[Path]:
    """What `entry` imports, at any depth, each after all that it imports itself; `entry` is the last."""
    order: list[Path] = []
    under_way: list[Path] = []

    def visit(path: Path) -> None:
        if path in order:
            return
        if path in under_way:
            raise ValueError(f"{path} imports itself by way of {under_way[-1]}")
        under_way.append(path)
        for _, address in _IMPORT.findall(_text(path)):
            visit((path.parent / address).resolve())
        under_way.pop()
        order.append(path)

    visit(entry.resolve())
    return order


def _text(path: Path) -> str:
    return slim(path.name, path.read_text(encoding="utf-8"), shorten=True)


def _name(path: Path, order: list[Path]) -> str:
    return f"module{order.index(path.resolve())}"


def _module(path: Path, order: list[Path]) -> str:
    def constants(match: re.Match[str]) -> str:
        if match[1] is None:
            return ""  # it has run before, for its effect alone
        names = ", ".join(name.strip().replace(" as ", ": ") for name in match[1].split(",") if name.strip())
        return f"const {{ {names} }} = {_name(path.parent / match[2], order)};"

    text = _text(path)
    exported = ", ".join(_EXPORT.findall(text))
    if path.parent != order[-1].parent:
        own = Path(os.path.relpath(path, order[-1].parent)).as_posix()
        folder = own.rpartition("/")[0]
        text = _LATER.sub(lambda match: f"import({match[1]}./{folder}/", text)
        text = _OWN_ADDRESS.sub(f'new URL("{own}",import.meta.url).href', text)
    text = _EXPORT.sub("", _IMPORT.sub(constants, text))
    if other := _OTHER.search(text):
        raise ValueError(f"{path}: cannot be bundled because of {other[0]!r}")
    lines = "\n".join(line for line in text.split("\n") if line)
    return f"const {_name(path, order)} = (() => {{\n{lines}\nreturn {{ {exported} }};\n}})();"
