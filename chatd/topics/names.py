"""The ten topics, in the order in which the model keeps them, and what one finding is. Needs no numpy."""

from __future__ import annotations

from typing import NamedTuple

from chatd.domain.commands import TOPICS as TOPICS  # as clients name them

# Languages with sentences, thresholds and figures of their own. Any other is judged by the strictest threshold of all.
LANGUAGES = ("en", "sv", "de", "es", "fr", "zh", "ru")


class TopicScore(NamedTuple):
    """One topic that a message is about. `score` is the calibrated probability, from 0 to 1."""

    topic: str
    score: float
