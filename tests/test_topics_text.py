"""What the model looks at: normalizing, n-grams and languages hold for any text that a customer can send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.topics.languages import OTHER, detect_language, settle_language
from chatd.topics.text import BUCKETS, CHARACTERS_MAX, character_buckets, normalize, shorten, word_buckets


@given(st.text(max_size=600))
def test_any_text_becomes_plain_text_of_bounded_size_and_valid_buckets(text: str) -> None:
    plain = normalize(text)
    assert len(plain) <= CHARACTERS_MAX
    assert plain == plain.strip()
    for bucket in word_buckets(plain) | character_buckets(plain):
        assert 0 <= bucket < BUCKETS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What’s the PRICE?", "whats the price?"),
        ("où est mon colis", "ou est mon colis"),
        ("order #12345", "order #98765"),
        ("heeeeelp", "heelp"),
        ("hello\u200b \n there", "hello there"),
        ("see https://a.example/x?y=1", "see https://b.example"),
        ("ＣＯＤ available", "cod available"),
    ],
)
def test_ways_of_typing_that_mean_the_same_look_the_same(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


def test_a_long_letter_is_cut_at_a_word() -> None:
    cut = shorten("refund " * 500)
    assert len(cut) <= CHARACTERS_MAX
    assert cut.endswith("refund")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("where is my parcel", "en"),
        ("var är mitt paket", "sv"),
        ("wo bleibt meine bestellung", "de"),
        ("¿cuánto cuesta el envío?", "es"),
        ("où est ma commande", "fr"),
        ("где мой заказ", "ru"),
        ("什么时候发货", "zh"),
        ("注文はいつ届きますか", OTHER),
        ("أين طلبي", OTHER),
        ("", "en"),
        ("42", "en"),
    ],
)
def test_the_language_is_told_by_script_and_small_words(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("text", "stated", "language"),
    [
        ("status", "sv", "sv"),
        ("status", "SV-se", "sv"),
        ("status", "de_AT", "de"),
        ("status", "nl", OTHER),
        ("status", "", "en"),
        ("где мой заказ", "en", "ru"),
        ("注文はいつ届きますか", "zh", OTHER),
    ],
)
def test_a_stated_language_counts_unless_the_script_speaks_against_it(text: str, stated: str, language: str) -> None:
    assert settle_language(text, stated) == language
