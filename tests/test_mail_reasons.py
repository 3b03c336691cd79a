"""Staff read in their own language why a mail was not sent: every reason that chatd can give is known to the inbox."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from chatd.domain.notices import Stage, judge_reply
from chatd.i18n import LOCALES
from chatd.notify import courier

ROOT = Path(__file__).parent.parent
SCRIPT = """
import { text } from "node:stream/consumers";
import { reasonOf, reasonWords } from "./static/inbox/mail-reasons.js";
import { makeTranslator } from "./static/i18n.js";
const { reasons, locales } = JSON.parse(await text(process.stdin));
const told = {};
for (const locale of locales) {
  const { default: catalogue } = await import(`./static/inbox/locales/${locale}.js`);
  told[locale] = reasons.map((reason) => reasonWords(reason, makeTranslator(catalogue, locale)));
}
console.log(JSON.stringify({ kinds: reasons.map((reason) => reasonOf(reason).kind), told }));
"""

CODES = (421, 450, 451, 452, 454, 500, 530, 535, 550, 552, 554, 999)
ANSWERED = [
    judge_reply(stage, code, "Nothing doing").reason for stage, code in itertools.product(get_args(Stage), CODES)
]
OWN = [courier.NO_SERVER, courier.NO_SENDER, courier.BAD_SENDER, courier.BAD_RECIPIENT, courier.NOT_COMPOSED]
OWN += [courier.TOO_SLOW, courier.CAPPED, courier.GONE]
# Those that stand in the code without a name.
OWN += re.findall(
    r'(?:Delivery\(.*|return f?)"(The [^"{]+)', (ROOT / "chatd" / "notify" / "smtp.py").read_text(encoding="utf-8")
)


def read(node_path: str, reasons: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """What the inbox makes of them: the kind of each, and its words by language."""
    given = json.dumps({"reasons": reasons, "locales": LOCALES})
    command = [node_path, "--input-type=module", "--eval", SCRIPT]
    result = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    read = json.loads(result.stdout)
    return read["kinds"], read["told"]


@pytest.mark.node
def test_every_reason_that_chatd_gives_is_known_and_has_words_in_every_language(node_path: str) -> None:
    reasons = [*ANSWERED, *OWN]
    assert len(OWN) > 14, "they are found in the code"
    kinds, told = read(node_path, reasons)
    assert [reason for reason, kind in zip(reasons, kinds, strict=True) if not kind] == []
    for locale, words in told.items():
        assert not [text for text in words if "reason." in text or "{" in text], locale


@pytest.mark.node
@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (550, "5.1.1 User unknown", "address"),
        (550, "User unknown", "address"),
        (550, "5.1.8 Bad sender address", "sender"),
        (550, "5.2.1 Mailbox disabled", "disabled"),
        (552, "5.2.2 Mailbox full", "full"),
        (452, "4.2.2 Over quota", "full"),
        (552, "5.3.4 Too big", "too_big"),
        (550, "5.7.1 Rejected as spam", "policy"),
        (451, "4.7.1 Greylisted", "later"),
        (450, "Try later", "later"),
    ],
)
def test_the_servers_answer_is_read_by_its_class_and_kept(node_path: str, code: int, text: str, kind: str) -> None:
    reason = judge_reply("recipient", code, text).reason
    kinds, told = read(node_path, [reason, f"Given up after 5 days. {reason}"])
    assert kinds == [kind, kind]
    for words in told.values():
        assert f"{code} {text}" in words[0]
        assert words[1].startswith(words[0])
        assert words[1] != words[0]


@pytest.mark.node
def test_a_reason_of_a_later_chatd_stands_as_it_came(node_path: str) -> None:
    kinds, told = read(node_path, ["The moon was in the way."])
    assert kinds == [""]
    assert {words for [words] in told.values()} == {"The moon was in the way."}
