"""Which of our languages a message is in, when nobody says: by script, then by small words and letters of its own.

A short message without any such word counts as English, the language of most shops; the language only chooses the
threshold, so a wrong guess costs a label or two and never invents one on its own.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from chatd.topics.names import LANGUAGES

OTHER = "other"

_WORD = re.compile(r"[^\W\d_]+")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA_HANGUL = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_ELSEWHERE = re.compile(r"[\u0370-\u03ff\u0590-\u05ff\u0600-\u06ff\u0900-\u0dff\u0e00-\u0eff]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SMALL_WORDS = MappingProxyType(
    {
        "en": _words(
            "the is are you your do does did can could i my me we it this that of to in on for and or "
            "what when where "
            "how which who why not with from have has will would please thanks hello any get want need there much"
        ),
        "sv": _words(
            "och är jag ni har inte en ett det den på av till för med kan vill hur var vad när som om "
            "min mitt mina er "
            "finns kostar få fått hej tack går ska skulle någon något från eller säljer skickar beställning vilken"
        ),
        "de": _words(
            "der die das und ist ich sie ihr nicht ein eine einen zu mit auf für von wie was wann wo kann habe haben "
            "hat gibt mein meine bitte danke hallo noch es im am an bei wird welche möchte nach ja auch kostet"
        ),
        "es": _words(
            "el la los las un una de del que es en por para con no mi su tienen tiene hay cuánto "
            "cuanto cómo como dónde "
            "donde cuándo cuando quiero puedo hola gracias está están yo me se al lo qué pedido envío precio busco"
        ),
        "fr": _words(
            "le la les un une des du de est et je vous ne pas que qui pour avec dans sur mon ma mes "
            "votre avez combien "
            "comment où quand bonjour merci puis peut il elle au aux ce cette ai suis quel quelle commande livraison"
        ),
    }
)
_LETTERS = MappingProxyType({"sv": "åäö", "de": "äöüß", "es": "ñ¿¡áíóú", "fr": "çèêàùœûîë"})


def detect_language(text: str) -> str:
    """One of `LANGUAGES`, or `other` for a script that none of them is written in."""
    if _KANA_HANGUL.search(text) or _ELSEWHERE.search(text):
        return OTHER
    if _HAN.search(text):
        return "zh"
    if _CYRILLIC.search(text):
        return "ru"
    lowered = text.lower()
    words = _WORD.findall(lowered)
    scores = {
        language: float(sum(word in small_words for word in words)) for language, small_words in _SMALL_WORDS.items()
    }
    for language, letters in _LETTERS.items():
        scores[language] += 0.7 * min(2, sum(letter in lowered for letter in letters))
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] > scores["en"] else "en"


def settle_language(text: str, stated: str | None) -> str:
    """The language to judge by: the stated one when it is ours and its script fits, else what the text looks like."""
    primary = (stated or "").strip().lower().replace("_", "-").partition("-")[0]
    detected = detect_language(text)
    if not primary:
        return detected
    if primary not in LANGUAGES:
        return OTHER
    if detected in ("zh", "ru", OTHER) and detected != primary:
        return detected
    return primary
