"""Header lines of a mail, written so that no text of a person can become anything but text.

Python's own writer breaks a long quoted name between its words and drops the quotes on the way: one sender becomes two
(CPython 3.11 does, and later versions had their turn). So names and subjects are written here: what is not plain
becomes encoded words (RFC 2047), which hold no character that means anything in a header.
"""

from __future__ import annotations

import base64
import re
import unicodedata

from chatd.domain.addresses import check_email

NAME_CHARACTERS_MAX = 64
SUBJECT_CHARACTERS_MAX = 120
LINE_CHARACTERS = 76  # RFC 2047 section 2, for lines that hold an encoded word
ENCODED_WORD_BYTES = 42  # in base64 and with its frame at most 75 characters (RFC 2047 section 2)

# Explicit directions would reorder what stands beside a name. Joiners stay: letters and emoji are made with them.
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_PLAIN = re.compile(r"[A-Za-z0-9 !#$&'*+/^_`{|}~.,:;@()\[\]-]*")
_ATOMS = re.compile(r"[A-Za-z0-9 !#$&'*+/^_`{|}~-]*")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9._-]{1,200}@[a-z0-9.-]{1,253}>")


def one_line(text: str, characters_max: int) -> str:
    """The text without line breaks (all that Unicode has), control characters and explicit directions, bounded."""
    kept = "".join(
        " " if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") else character
        for character in text
        if character not in _DIRECTIONS
    )
    line = " ".join(kept.split())
    return line if len(line) <= characters_max else line[: characters_max - 1].rstrip() + "…"


def mailbox(name: str, address: str) -> str:
    """`Name <address>` for From and Reply-To. Raises `InvalidInput` for what is no address."""
    address = check_email(address)
    name = one_line(name, NAME_CHARACTERS_MAX)
    if not name:
        return address
    if _ATOMS.fullmatch(name):
        words = [name]
    elif _PLAIN.fullmatch(name):
        words = [f'"{name}"']  # neither quote nor backslash is among the plain characters
    else:
        words = _encoded_words(name)
    return _folded([*words, f"<{address}>"], room=LINE_CHARACTERS - len("Reply-To: "))


def subject(text: str) -> str:
    text = one_line(text, SUBJECT_CHARACTERS_MAX)
    words = text.split(" ") if _PLAIN.fullmatch(text) else _encoded_words(text)
    return _folded(words, room=LINE_CHARACTERS - len("Subject: "))


def message_ids(*ids: str) -> str:
    """For Message-ID, In-Reply-To and References (RFC 5322 section 3.6.4). Raises `ValueError` for what is none."""
    for one in ids:
        if not _MESSAGE_ID.fullmatch(one):
            raise ValueError("a Message-ID that chatd did not make")
    return "\r\n ".join(ids)


def _folded(words: list[str], *, room: int) -> str:
    """The words with a space between them, broken before a word that does not fit any more."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = LINE_CHARACTERS - 1
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\r\n ".join(lines)


def _encoded_words(text: str) -> list[str]:
    """RFC 2047 section 5: no character is split between two words; what is between two words is not shown."""
    words: list[bytes] = [b""]
    for character in text:
        raw = character.encode()
        if len(words[-1]) + len(raw) > ENCODED_WORD_BYTES:
            words.append(b"")
        words[-1] += raw
    return [f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words]
