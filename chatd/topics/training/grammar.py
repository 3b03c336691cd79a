"""The corpus's text format, easy to extend with any editor.

    # a remark
    @ Shipping, Pricing/Discounts?      the topics of the lines below; `?`: may be meant too, is never taught as wrong
    @ none                              no topic
    do you ship (to|in) {country}[?]    one template a line: (one|of|these), [may be missing], {a slot}

`slots.txt` says what may stand in a slot: `{name}` on a line, then values, one a line or parted by `|`. `\\d` is a
random digit, `\\w` a made-up name. A slot that a language does not have is looked for in English.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from chatd.errors import InvalidInput
from chatd.topics.names import TOPICS

FOLDS = 5
# So many neighbouring lines of a file are in one fold: they resemble each other, and what resembles must not be tested
# on. Each file counts for itself, so that a line more in one changes nothing in the others.
LINES_A_BLOCK = 2
# Slots with so many values are dealt out to the folds as well, so that a product met in testing is new.
VALUES_DEALT = 40
DEPTH_MAX = 5

_SLOT = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\(([^()]*)\)")
_OPTION = re.compile(r"\[([^\[\]]*)\]")
_STARTS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "st",
    "t",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ia", "eo", "y")
_ENDS = ("", "", "n", "x", "s", "l", "r", "rt", "ck", "m", "on", "ex", "um")


@dataclass(frozen=True)
class Template:
    """One line of the corpus. `maybe` are topics that it is neither counted for nor against."""

    language: str
    text: str
    topics: frozenset[str]
    maybe: frozenset[str]
    fold: int


@dataclass(frozen=True)
class Grammar:
    """The whole corpus: templates in the order of the files, and the slots of each language."""

    templates: tuple[Template, ...]
    slots: dict[str, dict[str, tuple[str, ...]]] = field(repr=False)

    def values(self, language: str, name: str, fold: int) -> tuple[str, ...]:
        found = self.slots.get(language, {}).get(name) or self.slots.get("en", {}).get(name)
        if not found:
            raise InvalidInput(f"the corpus has no slot {{{name}}} for {language!r}; add it to slots.txt")
        if len(found) < VALUES_DEALT:
            return found
        return found[fold::FOLDS]

    def expand(self, template: Template, chance: random.Random) -> str:
        """One message that the template allows, as chance will have it."""
        text = template.text
        for _ in range(DEPTH_MAX):
            before = text
            text = _OPTION.sub(lambda match: match.group(1) if chance.random() < 0.5 else "", text)
            text = _CHOICE.sub(lambda match: chance.choice(match.group(1).split("|")), text)
            text = _SLOT.sub(
                lambda match: chance.choice(self.values(template.language, match.group(1), template.fold)), text
            )
            if text == before:
                break
        text = re.sub(r"\\d", lambda _: chance.choice("0123456789"), text)
        text = re.sub(r"\\w", lambda _: made_up_name(chance), text)
        return " ".join(text.split())


def made_up_name(chance: random.Random) -> str:
    """A name of a brand or person that nobody has: real shops sell what no list holds."""
    syllables = chance.choice((1, 2, 2, 2, 3))
    return "".join(chance.choice(_STARTS) + chance.choice(_VOWELS) for _ in range(syllables)) + chance.choice(_ENDS)


def read_corpus(folder: Path) -> Grammar:
    """Read every language's folder. Raises `InvalidInput` with file and line for what is not understood."""
    templates: list[Template] = []
    slots: dict[str, dict[str, tuple[str, ...]]] = {}
    for languages_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        language = languages_folder.name
        for path in sorted(languages_folder.glob("*.txt")):
            if path.name == "slots.txt":
                slots[language] = _read_slots(path)
            else:
                templates += read_templates(path, language)
    if not templates:
        raise InvalidInput(f"{folder} holds no corpus: expected folders such as en/ with .txt files")
    grammar = Grammar(tuple(templates), slots)
    for template in templates:
        for name in _SLOT.findall(template.text):
            grammar.values(template.language, name, template.fold)
    return grammar


def read_templates(path: Path, language: str) -> list[Template]:
    topics: frozenset[str] | None = None
    maybe: frozenset[str] = frozenset()
    found: list[Template] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("# "):
            continue
        if line.startswith("@ "):
            topics, maybe = _read_heading(line[2:], f"{path}:{number}")
            continue
        if topics is None:
            raise InvalidInput(f"{path}:{number}: a message before any heading; expected a line such as '@ Shipping'")
        fold = (len(found) // LINES_A_BLOCK) % FOLDS
        found.append(Template(language, line, topics, maybe, fold))
    return found


def _read_heading(heading: str, place: str) -> tuple[frozenset[str], frozenset[str]]:
    sure: set[str] = set()
    maybe: set[str] = set()
    for part in (part.strip() for part in heading.split(",")):
        name = part.removesuffix("?")
        if name not in TOPICS and name != "none":
            raise InvalidInput(f"{place}: {name!r} is no topic; expected none or some of {', '.join(TOPICS)}")
        (maybe if part.endswith("?") else sure).add(name)
    return frozenset(sure - {"none"}), frozenset(maybe)


def _read_slots(path: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    name = ""
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("# "):
            continue
        if match := _SLOT.fullmatch(line):
            name = match.group(1)
            found[name] = []
        elif name:
            found[name] += [value.strip() for value in line.split("|") if value.strip()]
        else:
            raise InvalidInput(f"{path}:{number}: a value before any slot; expected a line such as '{{colour}}'")
    return {slot: tuple(values) for slot, values in found.items()}
