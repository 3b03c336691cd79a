"""From a message to its topics. Load one `Labeller` and keep it; `label` has no memory and changes nothing.

With the encoder two opinions are joined, without it the first stage decides alone, by its own, stricter thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chatd.topics.encoder import NAME, Encoder, EncoderUnavailable
from chatd.topics.files import SHIPPED_MODEL
from chatd.topics.languages import settle_language
from chatd.topics.model import Floats, Model, read_model
from chatd.topics.names import TOPICS, TopicScore
from chatd.topics.text import normalize


class Labeller:
    """Decides which topics a message surely has: none, one, seldom more."""

    def __init__(self, model: Model, encoder: Encoder | None = None, *, missing: str = "") -> None:
        self.model = model
        self.encoder = encoder if model.head is not None and model.joined is not None else None
        self.missing = missing  # why there is no second stage although the model has one

    @classmethod
    def load(cls, path: Path = SHIPPED_MODEL, *, second_stage: bool = True) -> Labeller:
        """Read the model, and the encoder if it is installed as pinned. Raises `InvalidInput` for a bad model file."""
        model = read_model(path)
        if not second_stage or model.head is None:
            return cls(model)
        if model.head.encoder != NAME:
            return cls(model, missing=f"the model was trained with {model.head.encoder}, chatd uses {NAME}")
        try:
            return cls(model, Encoder())
        except EncoderUnavailable as error:
            return cls(model, missing=str(error))

    @property
    def stages(self) -> int:
        return 2 if self.encoder else 1

    def label(self, text: str, lang: str | None = None) -> list[TopicScore]:
        """The topics that are certain, best first; empty when nothing is. Never raises for any text."""
        return self.label_many([(text, lang)])[0]

    def label_many(self, messages: Sequence[tuple[str, str | None]]) -> list[list[TopicScore]]:
        """The same for several at once, which is cheaper a message when there is an encoder."""
        # Only signs and smileys: nothing to read, whatever the weights make of it.
        readable = [index for index, (text, _) in enumerate(messages) if _has_words(text)]
        decided: list[list[TopicScore]] = [[] for _ in messages]
        if not readable:
            return decided
        texts = [messages[index][0] for index in readable]
        languages = [settle_language(*messages[index]) for index in readable]
        scores, given = self.decide(texts, languages)
        for row, index in enumerate(readable):
            decided[index] = [
                TopicScore(TOPICS[column], round(float(scores[row, column]), 4))
                for column in np.argsort(-scores[row], kind="stable")
                if given[row, column]
            ]
        return decided

    def decide(self, texts: Sequence[str], languages: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """All scores, a row a text and a column a topic, and which of them are labels."""
        stages, decision = [np.stack([self.model.logits(text) for text in texts])], self.model.alone
        if self.encoder and self.model.head and self.model.joined:
            stages.append(self.model.head.logits(self.encoder.embed(texts)))
            decision = self.model.joined
        scores = decision.scores(stages, languages)
        thresholds = np.array([[decision.threshold(language)] for language in languages], dtype=np.float32)
        return scores, decision.given(scores, thresholds)


def _has_words(text: str) -> bool:
    return any(sign.isalpha() for sign in normalize(text))
