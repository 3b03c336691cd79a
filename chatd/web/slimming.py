"""What a browser needs of a source file: everything but what was written for readers.

There is no build step; the files under `static/` are served as they stand, less their comments, their indentation and
the spaces beside punctuation. That is almost half of the bubble's weight, which every page of a shop would pay for.
Lines and names stay, so a place in a stack trace is the line in the file. (In a bundle, where lines are gone anyway,
private names are shortened as well.)

It knows no grammar, only the house's own style, which a test holds the files to:

* a slash with white space after it divides, any other begins a regular expression or a comment;
* a comment begins with white space or a star (`/*SETTINGS*/` is a place for the server to fill, and stays);
* a template literal holds no other one, and over several lines only text in which white space at the start of a line
  says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from string import ascii_letters

_SCRIPT = re.compile(
    r"""
    (?P<text> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | /(?![\s/*])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/ )
    | (?P<template> `(?:[^`\\]|\\.)*` )
    | (?P<comment> [ \t]*//.* | /\*[\s*][\s\S]*?\*/[ \t]* )
    | (?P<private> \#[A-Za-z_]\w* )
    | [ \t]*(?P<punctuation>(?:[-+*]=|[=!<>?:&|,;{}()\[\]])+)[ \t]*
    """,
    re.VERBOSE,
)
_SHEET_COMMENT = re.compile(r"^[ \t]*/\*.*?\*/[ \t]*", re.MULTILINE | re.DOTALL)
_INDENTATION = re.compile(r"^[ \t]+|[ \t]+$", re.MULTILINE)
_PRIVATE_IN_TEMPLATE = re.compile(r"(?<=\.)#[A-Za-z_]\w*")

SLIMMED = (".js", ".css")


def slim(name: str, text: str, *, shorten: bool = False) -> str:
    """The text of the file called `name` without comments and indentation, of a script also without the spaces beside
    punctuation; of other kinds than JavaScript and style sheets, the text as it is. With `shorten`, a script's private
    names (`#name`), which nothing outside of it can mean, become short ones."""
    if name.endswith(".js"):
        text = _SCRIPT.sub(_slimmer(shorten), text)
    elif name.endswith(".css"):
        text = _SHEET_COMMENT.sub(_newlines, text)
    else:
        return text
    return _INDENTATION.sub("", text)


def _slimmer(shorten: bool) -> Callable[[re.Match[str]], str]:
    names: dict[str, str] = {}

    def private(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"#{_short(len(names))}") if shorten else match[0]

    def slimmed(match: re.Match[str]) -> str:
        if match["comment"]:
            return _newlines(match)
        if match["private"]:
            return private(match)
        if match["template"]:
            return _PRIVATE_IN_TEMPLATE.sub(private, match["template"])
        return match["text"] or match["punctuation"]

    return slimmed


def _short(number: int) -> str:
    """a, b, … Z, aa, ba, …"""
    rest, first = divmod(number, len(ascii_letters))
    return ascii_letters[first] + (_short(rest - 1) if rest else "")


def _newlines(comment: re.Match[str]) -> str:
    return "\n" * comment.group().count("\n")
