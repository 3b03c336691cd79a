"""The corpus and the training: every line is understood, the same seed gives the same model, corrections help.

Real training on small corpora; that of the whole corpus is `make topics`.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.errors import InvalidInput
from chatd.resources import corpus_directory
from chatd.topics.labeller import Labeller
from chatd.topics.model import Model, file_hash, read_model, write_model
from chatd.topics.names import LANGUAGES, TOPICS
from chatd.topics.training.grammar import FOLDS, LINES_A_BLOCK, Grammar, Template, read_corpus, read_templates
from chatd.topics.training.measuring import Example, measure, read_examples, share
from chatd.topics.training.run import train
from chatd.topics.training.samples import Correction, make_samples
from chatd.topics.training.sparse import SparseRows
from chatd.topics.training.variations import vary


@pytest.fixture(scope="module")
def corpus() -> Grammar:
    return read_corpus(corpus_directory())


@pytest.fixture(scope="module")
def small(corpus: Grammar) -> Grammar:
    """Two topics and none, enough to learn something in a second."""
    chosen: list[Template] = []
    for topics in ({"Shipping"}, {"Wholesale"}, set()):
        wanted = [
            template
            for template in corpus.templates
            if template.language == "en" and not template.maybe and template.topics == topics
        ]
        # As many of each, however the corpus grows.
        chosen += random.Random(1).sample(wanted, 120)
    return Grammar(tuple(chosen), corpus.slots)


@pytest.fixture(scope="module")
def trained(small: Grammar) -> Model:
    return train(Path(), grammar=small, seed=3).model


# ---------------------------------------------------------------- corpus


def test_the_corpus_is_as_rich_as_promised(corpus: Grammar) -> None:
    distinct = {(template.language, template.text.lower()): template for template in corpus.templates}
    by_language = {language: [one for (of, _), one in distinct.items() if of == language] for language in LANGUAGES}
    assert len(by_language["en"]) >= 2_000
    for language, templates in by_language.items():
        assert len(templates) >= 200, language
        for topic in TOPICS:
            assert any(topic in template.topics for template in templates), (language, topic)
    without = sum(not template.topics for template in distinct.values())
    assert without >= 0.3 * len(distinct)


def test_every_template_makes_messages_without_a_trace_of_the_format(corpus: Grammar) -> None:
    chance = random.Random(5)
    for template in corpus.templates:
        text = corpus.expand(template, chance)
        assert text
        assert not set("{}|\\") & set(text), template.text


def test_the_same_line_is_not_taught_to_be_two_different_things(corpus: Grammar) -> None:
    taught: dict[tuple[str, str], Template] = {}
    for template in corpus.templates:
        other = taught.setdefault((template.language, template.text.lower()), template)
        clash = (template.topics - other.topics - other.maybe) | (other.topics - template.topics - template.maybe)
        assert not clash, (template.language, template.text, sorted(clash))


def test_a_new_line_leaves_all_other_messages_as_they_were(small: Grammar) -> None:
    more = Grammar((*small.templates, Template("en", "a new line", frozenset(), frozenset(), 0)), small.slots)
    before = [sample.text for sample in make_samples(small, 1) if sample.plain]
    after = [sample.text for sample in make_samples(more, 1) if sample.plain]
    assert after == [*before, "a new line"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("hello\n", ":1: a message before any heading"),
        ("@ none\nhello\n\n@ Shiping\nx\n", ":4: 'Shiping' is no topic"),
    ],
)
def test_a_line_that_is_not_understood_is_named(body: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(body)
    with pytest.raises(InvalidInput) as refused:
        read_templates(path, "en")
    assert expected in refused.value.message


def test_a_slot_that_nobody_filled_is_named(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "a.txt").write_text("@ Shipping\nto {planet}?\n")
    with pytest.raises(InvalidInput, match="planet"):
        read_corpus(tmp_path)


def test_a_shop_owner_can_write_choices_and_options(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "slots.txt").write_text("{planet}\nmars | venus\n")
    (tmp_path / "en" / "a.txt").write_text("# mine\n@ Shipping, Pricing/Discounts?\n(ship|send) to {planet}[ today]\n")
    grammar = read_corpus(tmp_path)
    chance = random.Random(0)
    made = {grammar.expand(grammar.templates[0], chance) for _ in range(200)}
    assert made == {
        f"{verb} to {planet}{end}"
        for verb in ("ship", "send")
        for planet in ("mars", "venus")
        for end in ("", " today")
    }
    assert grammar.templates[0].topics == {"Shipping"}
    assert grammar.templates[0].maybe == {"Pricing/Discounts"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_variations_are_of_the_seed_and_never_empty(language: str) -> None:
    one = [vary("where is my order", language, random.Random(seed)) for seed in range(50)]
    again = [vary("where is my order", language, random.Random(seed)) for seed in range(50)]
    assert one == again
    assert all(one)
    assert len(set(one)) > 10


# ---------------------------------------------------------------- training


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 700))
@settings(deadline=None, max_examples=40)
def test_sparse_rows_do_what_a_dense_matrix_does(seed: int, height: int, width: int) -> None:
    chance = np.random.default_rng(seed)
    dense = chance.standard_normal((height, width)).astype(np.float32)
    dense *= chance.random((height, width)) < chance.random((height, 1))
    sparse = SparseRows.of([(np.flatnonzero(row), row[np.flatnonzero(row)]) for row in dense], width)
    other = chance.standard_normal((width, 3)).astype(np.float32)
    back = chance.standard_normal((height, 3)).astype(np.float32)
    rows = chance.integers(0, height, size=chance.integers(0, 2 * height))
    columns = np.flatnonzero(chance.random(width) < 0.5)
    np.testing.assert_allclose(sparse @ other, dense @ other, atol=1e-4)
    np.testing.assert_allclose(sparse.turned() @ back, dense.T @ back, atol=1e-4)
    np.testing.assert_allclose(sparse.take(rows) @ other, dense[rows] @ other, atol=1e-4)
    np.testing.assert_allclose(sparse.keep(columns) @ other[columns], dense[:, columns] @ other[columns], atol=1e-4)


def test_the_same_seed_gives_the_same_file_byte_for_byte(small: Grammar, trained: Model, tmp_path: Path) -> None:
    again = train(Path(), grammar=small, seed=3).model
    assert write_model(trained, tmp_path / "one") == write_model(again, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_is_written_is_what_is_read(trained: Model, tmp_path: Path) -> None:
    digest = write_model(trained, tmp_path / "model")
    read = read_model(tmp_path / "model")
    assert file_hash(tmp_path / "model") == digest
    for text in ("how much is shipping to norway", "wholesale price list", "hello"):
        assert (read.logits(text) == trained.logits(text)).all()


def test_a_small_corpus_already_tells_its_topics_apart(trained: Model) -> None:
    labeller = Labeller(trained)
    right = {
        "do you deliver to copenhagen": "Shipping",
        "how long does shipping take": "Shipping",
        "can i get wholesale prices": "Wholesale",
        "we want to resell your goods": "Wholesale",
    }
    given = {text: [label.topic for label in labeller.label(text)] for text in right}
    assert sum(labels == [right[text]] for text, labels in given.items()) >= 3, given
    assert all(labels in ([], [right[text]]) for text, labels in given.items())


def test_corrections_of_the_shop_visibly_help(small: Grammar, trained: Model) -> None:
    """The shop's own word for its trade programme, which no corpus can know, is learnt from a few corrections, and a
    label that staff took away stays away."""
    learnt = [
        "what is the hive programme",
        "hive programme",
        "how do i join the hive programme",
        "hive programme conditions",
        "i want to be in the hive programme",
        "hive programme for my cafe?",
        "is the hive programme open in norway",
        "tell me about the hive programme",
        "send hive programme papers",
        "joining the hive programme",
    ]
    asked = ["can my bakery join the hive programme", "hive programme papers please", "hive programme details"]
    speech = "do you deliver speeches"
    corrections = [Correction(text, "en", frozenset({"Wholesale"})) for text in learnt]
    corrections += [Correction(speech, "en", frozenset())] * 4

    corrected = train(Path(), grammar=small, corrections=corrections, seed=3).model

    before, after = Labeller(trained), Labeller(corrected)
    assert sum(_topics(before, text) == ["Wholesale"] for text in asked) == 0
    assert sum(_topics(after, text) == ["Wholesale"] for text in asked) >= 2
    assert _topics(after, "hello how are you") == []
    column = TOPICS.index("Shipping")
    assert corrected.logits(speech)[column] < trained.logits(speech)[column] - 1
    assert _topics(after, speech) == []


def _topics(labeller: Labeller, text: str) -> list[str]:
    return [label.topic for label in labeller.label(text, "en")]


# ---------------------------------------------------------------- figures


def test_figures_count_labels_messages_and_silence() -> None:
    examples = [
        Example("a", "en", frozenset({"Shipping"})),
        Example("b", "en", frozenset({"Shipping", "Checkout"})),
        Example("c", "en", frozenset({"Wholesale"})),
        Example("d", "en", frozenset()),
        Example("e", "sv", frozenset()),
    ]
    given = [["Shipping"], ["Shipping", "Wholesale"], [], ["Checkout"], []]
    figures = measure(examples, given).as_json()
    english = figures["languages"]["en"]
    assert (english["precision"]["share"], english["precision"]["of"]) == (0.5, 4)
    assert (english["coverage"]["share"], english["coverage"]["of"]) == (round(1 / 3, 4), 3)
    assert english["false_on_none"]["share"] == 1.0
    assert figures["languages"]["sv"]["precision"]["share"] is None
    assert figures["topics"]["Shipping"]["precision"]["share"] == 1.0


def test_an_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert share(81, 263) == {"share": 0.308, "from": 0.2553, "to": 0.3662, "of": 263}


def test_labelled_messages_are_read_strictly(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "lang": "en", "topics": ["Shipping"]}\n\n')
    assert read_examples(tmp_path) == [Example("x", "en", frozenset({"Shipping"}))]
    (tmp_path / "b.jsonl").write_text('{"text": "x", "lang": "en", "topics": ["Shoes"]}\n')
    with pytest.raises(InvalidInput, match="Shoes"):
        read_examples(tmp_path)


def test_folds_keep_neighbours_together(corpus: Grammar) -> None:
    """A line and the one below it are often the same question in other words."""
    assert {template.fold for template in corpus.templates} == set(range(FOLDS))
    for path in sorted(set(corpus_directory().glob("*/*.txt")) - set(corpus_directory().glob("*/slots.txt"))):
        templates = read_templates(path, path.parent.name)
        pairs = zip(templates[::LINES_A_BLOCK], templates[1::LINES_A_BLOCK], strict=False)
        assert all(one.fold == other.fold for one, other in pairs)
