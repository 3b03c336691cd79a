"""The corpus as labelled messages. Each template weighs the same, however many messages are made from it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from chatd.topics.names import TOPICS
from chatd.topics.training.grammar import FOLDS, Grammar, Template
from chatd.topics.training.variations import AFTER, BEFORE, joined, vary

# English has most of the templates; what is said in few must be heard too.
LANGUAGE_WEIGHT = MappingProxyType({"en": 1.0})
OTHER_LANGUAGE_WEIGHT = 2.0
# A corrected message of the shop's own is worth so many templates: it is real, and there are few.
CORRECTION_WEIGHT = 6.0
CORRECTION_VARIATIONS = 6


@dataclass(frozen=True)
class Sample:
    """One message. `plain` ones are as written, and are what calibration looks at."""

    text: str
    language: str
    topics: frozenset[str]
    maybe: frozenset[str]
    fold: int
    weight: float
    plain: bool
    pair: bool = False


@dataclass(frozen=True)
class Correction:
    """What staff made of a message: exactly these topics."""

    text: str
    language: str
    topics: frozenset[str]


def make_samples(grammar: Grammar, seed: int, *, with_slots: int = 5, without: int = 3) -> list[Sample]:
    """Every template several times, the first time plainly, then as people type; and pairs of messages in one."""
    found: list[Sample] = []
    of_fold: dict[tuple[str, int], list[Template]] = {}
    for template in grammar.templates:
        of_fold.setdefault((template.language, template.fold), []).append(template)
    for template in grammar.templates:
        # Chances of its own: a line more or less in the corpus leaves all other messages as they were.
        chance = random.Random(f"{seed} {template.language} {template.text}")
        times = with_slots if "{" in template.text or "\\" in template.text else without
        for time in range(times):
            text = grammar.expand(template, chance)
            if time:
                text = vary(text, template.language, chance)
            found.append(
                Sample(text, template.language, template.topics, template.maybe, template.fold, 1.0 / times, time == 0)
            )
        if chance.random() < 0.3:
            found.append(_pair(grammar, template, chance.choice(of_fold[template.language, template.fold]), chance))
    return found


def _pair(grammar: Grammar, one: Template, other: Template, chance: random.Random) -> Sample:
    """Two things said in one message have the topics of both."""
    link = chance.choice(
        (". ", ", ", " ", " and ", "? ", " - ", "\n") if one.language == "en" else (". ", ", ", " ", "? ")
    )
    text = vary(grammar.expand(one, chance) + link + grammar.expand(other, chance), one.language, chance, 0.6)
    topics = one.topics | other.topics
    # A name alone is an interest only while nothing else is said about it.
    maybe = (one.maybe | other.maybe | ({"Product interest"} if len(topics) > 1 else frozenset())) - (
        topics - {"Product interest"}
    )
    return Sample(text, one.language, topics, frozenset(maybe), one.fold, 0.5, False, True)


def correction_samples(corrections: Sequence[Correction], seed: int) -> Iterator[Sample]:
    """The shop's own messages, as they are and as they could have been typed."""
    chance = random.Random(seed)
    for number, correction in enumerate(corrections):
        language = correction.language if correction.language in BEFORE else "en"
        texts = [correction.text] + [
            vary(correction.text, language, chance, 0.7) for _ in range(CORRECTION_VARIATIONS - 2)
        ]
        texts.append(joined(chance.choice(BEFORE[language]), correction.text, language))
        texts.append(joined(correction.text, chance.choice(AFTER[language]), language))
        for text in texts:
            weight = CORRECTION_WEIGHT / len(texts)
            yield Sample(text, language, correction.topics, frozenset(), number % FOLDS, weight, False)


def targets(samples: Sequence[Sample]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is right, a column per topic, and how much each answer counts: nothing for a topic that may be meant too."""
    right = np.zeros((len(samples), len(TOPICS)), dtype=np.float32)
    counts = np.zeros_like(right)
    column = {topic: index for index, topic in enumerate(TOPICS)}
    for row, sample in enumerate(samples):
        counts[row] = sample.weight * LANGUAGE_WEIGHT.get(sample.language, OTHER_LANGUAGE_WEIGHT)
        for topic in sample.topics:
            right[row, column[topic]] = 1.0
        for topic in sample.maybe - {"none"}:
            counts[row, column[topic]] = 0.0
    return right, counts
