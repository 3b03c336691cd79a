"""`chatd topics`: label messages as the server would, export what staff have corrected, and train on it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from chatd.cli.common import Commands, examples, settings_of_environment, the_shop, use_store
from chatd.errors import InvalidInput
from chatd.resources import corpus_directory
from chatd.store import corrections
from chatd.store.contract import Store
from chatd.store.corrections import Corrected
from chatd.topics.files import model_in_force, own_model
from chatd.topics.names import LANGUAGES, TOPICS

if TYPE_CHECKING:
    from chatd.topics.training.samples import Correction

CORRECTIONS_MAX = 50_000
LINE_BYTES_MAX = 2**20
READ_BYTES = 2**16
# Labelled together for the encoder's sake, which is five times as fast a message then.
LINES_AT_ONCE = 32


@click.group("topics", cls=Commands, short_help="What customers write about: label messages, train on corrections.")
def topics_commands() -> None:
    """Topic labels: what a message is about, found by a model on this machine."""


@topics_commands.command(
    "label",
    short_help="Label messages from standard input.",
    epilog=examples(
        """echo '{"text": "where is my parcel"}' | chatd topics label""",
        "chatd topics label < messages.jsonl > labelled.jsonl",
    ),
)
@click.option("--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another model file.")
@click.option("--first-stage-only", is_flag=True, help="Leave the sentence encoder out even if it is installed.")
def label_command(model: Path | None, first_stage_only: bool) -> None:
    """Read one JSON object a line, {"text": ..., "lang": ...} with lang optional, and print one a line:
    {"topics": [{"topic": ..., "score": ...}]}, best first, empty when nothing is certain.

    The decisions are those of the server, by the shop's own model if it has trained one. A line that is not understood
    is answered with no topics and an "error" that names it; the others are labelled, and the command ends with 1.
    """
    from chatd.topics.labeller import Labeller

    labeller = Labeller.load(
        model or model_in_force(settings_of_environment().data_directory), second_stage=not first_stage_only
    )
    lines = bad = 0
    for batch in _batches(sys.stdin.buffer):
        read: list[tuple[str, str | None] | InvalidInput] = []
        for line in batch:
            lines += 1
            if line.strip():
                read.append(_message(line, f"line {lines}"))
        found = iter(labeller.label_many([message for message in read if not isinstance(message, InvalidInput)]))
        for message in read:
            if isinstance(message, InvalidInput):
                bad += 1
                print(json.dumps({"topics": [], "error": message.message}))
            else:
                print(json.dumps({"topics": [{"topic": one.topic, "score": one.score} for one in next(found)]}))
        # Whoever writes a line and waits for its answer must not wait for a full buffer.
        sys.stdout.flush()
    if bad:
        raise click.ClickException(f"{bad} of {lines} lines were not understood; each is answered with an error")


def _batches(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The lines as they come: all that is there, but never more than `LINES_AT_ONCE`, and never waiting for more. Of a
    line longer than `LINE_BYTES_MAX` only the beginning is kept, which then is no JSON."""
    kept = b""
    while chunk := stream.read1(READ_BYTES):  # type: ignore[attr-defined]  # all of our streams are buffered
        lines = chunk.split(b"\n")
        lines[0] = kept + lines[0]
        kept = lines.pop()[: LINE_BYTES_MAX + 1]
        for begin in range(0, len(lines), LINES_AT_ONCE):
            yield lines[begin : begin + LINES_AT_ONCE]
    if kept:
        yield [kept]


def _message(line: bytes, place: str) -> tuple[str, str | None] | InvalidInput:
    try:
        return _read(line, place)[:2]
    except InvalidInput as error:
        return error


def _read(line: bytes, place: str) -> tuple[str, str | None, dict[str, Any]]:
    """Text, language and all of a line. Raises `InvalidInput` that names the place and says what was expected."""
    expected = 'expected an object such as {"text": "where is my parcel", "lang": "en"}'
    if len(line) > LINE_BYTES_MAX:
        raise InvalidInput(f"{place} is longer than {LINE_BYTES_MAX:,} bytes; {expected}")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{place} is no JSON; {expected}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise InvalidInput(f"{place} has no text; {expected}")
    lang = record.get("lang")
    if lang is not None and not isinstance(lang, str):
        raise InvalidInput(f"{place} has the lang {lang!r}; expected a language such as 'en', or none")
    return record["text"], lang, record


@topics_commands.command(
    "export",
    short_help="Write what staff have corrected, to train on.",
    epilog=examples(
        "chatd topics export > corrections.jsonl && chatd topics train corrections.jsonl",
        "chatd topics export --shop nordlys > corrections.jsonl",
    ),
)
@click.option("--shop", metavar="KEY", help="The shop. Needed when there are several.")
def export_command(shop: str | None) -> None:
    """Print one JSON object a line, {"text": ..., "lang": ..., "topics": [...]}, as `chatd topics train` reads them.

    A line is what a customer wrote in a row where staff have added or removed a topic, word for word, and the topics
    that stand there since; none when all were removed, which teaches that it has none. Findings that staff left alone
    are not exported. The lines hold what people wrote to the shop: keep them as you keep its mail.
    """

    async def read(store: Store) -> list[Corrected]:
        found = await store.read(lambda tx: the_shop(tx, shop))
        return await corrections.read_corrections(store, found.id, languages=LANGUAGES)

    for corrected in use_store(read, settings=settings_of_environment()):
        click.echo(msgspec.json.encode(corrected).decode())


@topics_commands.command(
    "train",
    short_help="Train the model on the shop's own corrections.",
    epilog=examples(
        "chatd topics train corrections.jsonl",
        "chatd topics train corrections.jsonl --output try.npz && chatd topics label --model try.npz < messages.jsonl",
    ),
)
@click.argument("corrections", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where the model goes.")
@click.option("--corpus", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another corpus.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), help="A folder for report.json and .md.")
@click.option("--evaluation", type=click.Path(file_okay=False, path_type=Path), help="Labelled messages to measure on.")
@click.option("--seed", type=int, default=20, show_default=True, help="The same seed gives the same model.")
@click.option("--first-stage-only", is_flag=True, help="Without the sentence encoder, even if it is installed.")
def train_command(
    corrections: Path | None,
    output: Path | None,
    corpus: Path | None,
    report: Path | None,
    evaluation: Path | None,
    seed: int,
    first_stage_only: bool,
) -> None:
    """Train anew on the corpus and on CORRECTIONS: one JSON object a line, {"text": ..., "lang": ..., "topics": [...]},
    as `chatd topics export` writes them; no topics means that there should be none.

    It takes some minutes and one core. Running servers take the new model when they start the next time. To go back to
    the model that came with chatd, remove the file.
    """
    # Before numpy is loaded, which looks at it only then: training must be the same on any number of cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from chatd.topics.training.reporting import train_and_report

    output = output or own_model(settings_of_environment().data_directory)
    lines = train_and_report(
        corpus or corpus_directory(),
        output,
        corrections=read_corrections(corrections) if corrections else [],
        seed=seed,
        second_stage=not first_stage_only,
        report=report,
        evaluation=evaluation,
        say=lambda line: click.echo(line, err=True),
    )
    for line in lines:
        click.echo(line)


def read_corrections(path: Path) -> list[Correction]:
    """What staff made of messages, one a line. Raises `InvalidInput` with file and line for what is not understood:
    a correction left out would be missed by nobody."""
    from chatd.topics.languages import settle_language
    from chatd.topics.training.samples import Correction

    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            text, lang, record = _read(line, place)
            topics = record.get("topics")
            if not isinstance(topics, list) or not all(topic in TOPICS for topic in topics):
                raise InvalidInput(f"{place}: topics are {topics!r}; expected a list with none or some of {TOPICS}")
            language = settle_language(text, lang)
            found.append(Correction(text, language if language in LANGUAGES else "en", frozenset(topics)))
            if len(found) > CORRECTIONS_MAX:
                raise InvalidInput(f"{path} has more than {CORRECTIONS_MAX:,} corrections; take the newest")
    return found
