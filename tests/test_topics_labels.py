"""Topic labels as a shop meets them: the shipped model and `chatd topics label`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.__main__ import main
from chatd.errors import InvalidInput
from chatd.resources import corpus_directory
from chatd.topics.files import SHIPPED_MODEL, model_in_force, own_model
from chatd.topics.labeller import Labeller
from chatd.topics.model import read_model
from chatd.topics.names import TOPICS
from chatd.topics.training.run import corpus_hash

# `make topics` changes the file and prints the new hash; whoever commits the one commits the other.
MODEL_SHA256 = "83c215c590d2b60773a0db48b1dac2348c0c57581c872ff108a60f1fbffd3a61"
MODEL_BYTES_MAX = 6 * 2**20
ROOT = Path(__file__).parent.parent

CHATTER = """
hello
hi there, how are you
good morning
thanks a lot for your help
ok great, bye
you are useless idiots
worst company ever
are you a bot
i want to talk to a human
what is the capital of france
write me a poem about the sea
tell me a joke
who won the match yesterday
i have a headache since two days
how can i lose 10 kg in a month
what should i eat with diabetes
is it going to rain tomorrow
2 + 2
12345
asdfgh
🙏🙏
???
my name is Anna Berg
anna.berg@mail.example
i forgot my password
cannot log in to my account
earn money from home, click https://win.example
will you marry me
hej, hur mår du
tack för hjälpen
schönen tag noch
ihr seid betrüger
hola buenas tardes
cuéntame un chiste
bonjour, vous allez bien ?
merci beaucoup
спасибо большое
расскажи анекдот
你好
讲个笑话
""".strip().splitlines()

CERTAIN = {
    "where is my order": "Order status",
    "where is my order??": "Order status",
    "cancel my order please": "Edit orders",
    "i want a refund, it arrived broken": "Returns/Delivered orders",
    "do you ship to norway": "Shipping",
    "how much is shipping to spain": "Shipping",
    "discount code not working": "Pricing/Discounts",
    "can i pay with paypal": "Checkout",
    "what are your opening hours": "Store info",
    "what is your return policy": "Store info",
    "wholesale price list": "Wholesale",
    "which size should i take": "Product details",
    "is it waterproof": "Product details",
    "can you recommend a gift for my dad": "Product interest",
    "var är mitt paket": "Order status",
    "wo bleibt mein paket": "Order status",
    "cuánto cuesta el envío": "Shipping",
    "où est ma commande": "Order status",
    "сколько стоит доставка": "Shipping",
    "可以批发吗": "Wholesale",
}


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    return Labeller.load(second_stage=False)


@pytest.fixture
def run(tmp_path: Path) -> CliRunner:
    return CliRunner(env={"CHATD_DATA_DIRECTORY": str(tmp_path)})


def label(run: CliRunner, *lines: object, options: tuple[str, ...] = ("--first-stage-only",)) -> Result:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return run.invoke(main, ["topics", "label", *options], input=text + "\n")


# ---------------------------------------------------------------- the model that is shipped


def test_the_shipped_model_is_the_one_that_was_measured() -> None:
    assert hashlib.sha256(SHIPPED_MODEL.read_bytes()).hexdigest() == MODEL_SHA256
    assert SHIPPED_MODEL.stat().st_size <= MODEL_BYTES_MAX
    report = json.loads((ROOT / "topics" / "report.json").read_text())
    assert report["model_sha256"] == MODEL_SHA256
    assert report["corpus_sha256"] == corpus_hash(corpus_directory()), "the corpus is newer than the model: make topics"


def test_the_documentation_shows_the_figures_of_the_shipped_model() -> None:
    measured = set((ROOT / "topics" / "report.md").read_text().splitlines())
    shown = (ROOT / "docs" / "topics.md").read_text().partition("## Figures")[2].splitlines()
    rows = [line for line in shown if re.match(r"\| .* \(0\.", line)]
    assert len(rows) > 20
    assert not [row for row in rows if row not in measured]


def test_chatter_abuse_health_and_riddles_get_no_label(labeller: Labeller) -> None:
    labelled = {text: labels for text in CHATTER if (labels := labeller.label(text))}
    assert not labelled


def test_what_is_asked_every_day_is_labelled(labeller: Labeller) -> None:
    given = {text: [one.topic for one in labeller.label(text)] for text in CERTAIN}
    wrong = {text: labels for text, labels in given.items() if labels and labels != [CERTAIN[text]]}
    silent = [text for text, labels in given.items() if not labels]
    assert not wrong
    assert len(silent) <= 3, silent


def test_scores_are_probabilities_best_first(labeller: Labeller) -> None:
    for text in CERTAIN:
        scores = [one.score for one in labeller.label(text)]
        assert scores == sorted(scores, reverse=True)
        assert all(0.5 <= score <= 1 for score in scores)


@given(st.text(max_size=300), st.none() | st.text(max_size=8))
@settings(deadline=None, max_examples=60)
def test_no_text_and_no_language_makes_it_fail(text: str, lang: str | None) -> None:
    for one in _shipped().label(text, lang):
        assert one.topic in TOPICS


@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800", "?" * 9_999, "🙂", "a" * 100_000, "ا" * 500, "\u202e123"])
def test_what_says_nothing_gets_nothing(labeller: Labeller, text: str) -> None:
    assert labeller.label(text) == []


def test_together_or_alone_the_labels_are_the_same(labeller: Labeller) -> None:
    texts = [*CERTAIN, "", *CHATTER]
    together = labeller.label_many([(text, None) for text in texts])
    assert together == [labeller.label(text) for text in texts]


def test_a_message_takes_less_than_a_few_hundred_hashes_cost(labeller: Labeller) -> None:
    """A ratio on this very machine, not a time: a message costs at most what 2,000 SHA-256 of its size do."""
    text = "hi, do you have the blue one in medium and when would it be here"

    def cost(one: object, times: int) -> float:
        begun = time.perf_counter()
        for _ in range(times):
            one()  # type: ignore[operator]
        return (time.perf_counter() - begun) / times

    labelling, hashing = [], []
    for _ in range(7):
        labelling.append(cost(lambda: labeller.label(text, "en"), 20))
        hashing.append(cost(lambda: hashlib.sha256(text.encode()).digest(), 2_000))
    assert min(labelling) < 2_000 * min(hashing)


def _shipped() -> Labeller:
    return Labeller(read_model())


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", b"x" * 1000])
def test_a_file_that_is_no_model_is_refused_by_name(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "topics-model.npz"
    path.write_bytes(body)
    with pytest.raises(InvalidInput, match=r"topics-model\.npz"):
        read_model(path)


# ---------------------------------------------------------------- with the sentence encoder, where it is installed


def test_with_the_encoder_chatter_is_silent_too() -> None:
    both = Labeller.load()
    if both.stages != 2:
        pytest.skip("the sentence encoder is not installed")
    assert not {text: labels for text in CHATTER if (labels := both.label(text))}
    given = {text: [one.topic for one in both.label(text)] for text in CERTAIN}
    assert not {text: labels for text, labels in given.items() if labels and labels != [CERTAIN[text]]}


# ---------------------------------------------------------------- chatd topics label


def test_label_prints_one_answer_a_line(run: CliRunner) -> None:
    result = label(
        run, {"text": "where is my order"}, {"text": "hello", "lang": "en"}, {"text": "可以批发吗", "lang": "zh"}
    )
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.output.splitlines()]
    assert [list(answer) for answer in answers] == [["topics"]] * 3
    assert [one["topic"] for one in answers[0]["topics"]] == ["Order status"]
    assert set(answers[0]["topics"][0]) == {"topic", "score"}
    assert answers[1] == {"topics": []}
    assert [one["topic"] for one in answers[2]["topics"]] == ["Wholesale"]


def test_label_takes_null_as_no_language_and_passes_over_empty_lines(run: CliRunner) -> None:
    result = label(run, {"text": "where is my order", "lang": None}, "", {"text": ""})
    assert len(result.output.splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "where is my order",
        "[]",
        '{"message": "x"}',
        '{"text": 3}',
        '{"text": "x", "lang": 3}',
        "[" * 100_000,
        '{"text": "' + "x" * 2**20 + '"}',
        b'{"text": "\xff\xfe"}',
    ],
    ids=str,
)
def test_a_line_that_is_not_understood_is_named_and_costs_no_other_its_label(run: CliRunner, line: str | bytes) -> None:
    whole = line if isinstance(line, bytes) else line.encode()
    order = b'{"text": "where is my order"}'
    result = run.invoke(main, ["topics", "label", "--first-stage-only"], input=b"\n".join([order, whole, order]))
    first, bad, last = map(json.loads, result.stdout.splitlines())
    assert first == last
    assert first["topics"][0]["topic"] == "Order status"
    assert bad["topics"] == []
    assert bad["error"].startswith("line 2 ")
    assert "expected" in bad["error"]
    assert result.exit_code == 1
    assert "1 of 3 lines" in result.stderr


def test_whoever_writes_a_line_and_waits_gets_its_answer(tmp_path: Path) -> None:
    """A program may keep `chatd topics label` open and ask it one message after the other."""
    command = [sys.executable, "-m", "chatd", "topics", "label", "--first-stage-only"]
    environment = os.environ | {"CHATD_DATA_DIRECTORY": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text, topics in (("where is my order", ["Order status"]), ("hello", [])):
            process.stdin.write(json.dumps({"text": text}).encode() + b"\n")
            process.stdin.flush()
            assert [one["topic"] for one in json.loads(process.stdout.readline())["topics"]] == topics
        process.stdin.close()
        assert process.wait(30) == 0


def test_ten_thousand_lines_come_out_in_their_order(run: CliRunner) -> None:
    texts = ["where is my order", "hello", "do you ship to norway"]
    lines = [{"text": texts[number % 3]} for number in range(10_000)]
    answers = [json.loads(line)["topics"] for line in label(run, *lines).stdout.splitlines()]
    assert [[one["topic"] for one in answer] for answer in answers[:3]] == [["Order status"], [], ["Shipping"]]
    assert len(answers) == 10_000
    assert all(answer == answers[number % 3] for number, answer in enumerate(answers))


def test_the_shops_own_model_decides_when_there_is_one(run: CliRunner, tmp_path: Path) -> None:
    assert model_in_force(tmp_path) == SHIPPED_MODEL
    own_model(tmp_path).write_bytes(b"no model")
    assert model_in_force(tmp_path) == own_model(tmp_path)
    result = label(run, {"text": "hello"})
    assert result.exit_code == 1
    assert "topics-model.npz" in result.output


@pytest.mark.parametrize(
    "line", ['{"text": "x", "topics": ["Shoes"]}', '{"text": "x"}', '{"text": "x", "lang": 4, "topics": []}', "x"]
)
def test_corrections_that_are_not_understood_are_refused(line: str, run: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_text(line + "\n")
    result = run.invoke(main, ["topics", "train", str(path)])
    assert result.exit_code == 1
    assert "corrections.jsonl:1" in result.output
