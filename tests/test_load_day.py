"""A shop's day, compressed: it follows from its seed, everything arrives, and a mail that is lost or doubled is
found."""

from __future__ import annotations

from email.message import EmailMessage

import aiosmtplib
import pytest

from load.client import Seat
from load.day import Person, Visitor, judge_mails, plan_day
from load.dialects import ChatdDialect
from load.mails import MailSink
from load.scenarios import Plan, Run
from load.systems import Chatd
from load.traffic import Traffic
from load.turns import take_turns

DAY = Plan(seconds=3.0, visitors=80, settle_seconds=15.0, seed=7)


async def live_a_day() -> Run:
    (run,) = await take_turns("day", [Chatd("msgpack")], DAY, turns=1, cores=None, progress=lambda _line: None)
    return run


def test_a_day_follows_from_its_seed() -> None:
    day = plan_day(1, 200, 60.0)
    assert day == plan_day(1, 200, 60.0)
    assert day != plan_day(2, 200, 60.0)
    pages = [page for visitor in day for visit in visitor.visits for page in visit.pages]
    assert {page.asks for page in pages} == {True, False}
    assert {page.cart for page in pages} == {None, 0, 1, 2, 3, 4}
    assert any(len(visitor.visits) > 1 for visitor in day)
    assert all(0 <= visit.at <= 45.0 for visitor in day for visit in visitor.visits)


async def test_everything_of_a_day_arrives_and_who_left_is_mailed() -> None:
    run = await live_a_day()
    assert not run.faults.any, run.faults
    assert run.workload == "day-80"
    detail = run.detail
    assert detail["questions"] and detail["replies"] == detail["questions"]
    assert detail["mails"], "in this day about ten people leave before the answer, and give an address"
    assert detail["commands"] and detail["pages"]
    assert run.p50_us


@pytest.mark.parametrize(
    ("seen", "texts", "copies", "verdict"),
    [
        (0, ["first [N] second [N]"], 1, ""),
        (0, ["[N]", "[N]"], 1, ""),
        (2, [], 1, ""),
        (1, ["[N]"], 1, ""),
        (2, ["[N] [N]"], 1, ""),  # came back after the mail
        (0, [], 1, "2 lost"),
        (0, ["[N]"], 1, "1 lost"),
        (0, ["[N] [N]", "[N]"], 1, "1 duplicated"),
        (2, [], 2, "1 duplicated"),
    ],
)
async def test_a_mail_that_is_lost_or_doubled_is_found(seen: int, texts: list[str], copies: int, verdict: str) -> None:
    traffic = Traffic(settle_seconds=0)
    seat = Seat("ws://localhost", None, None, ChatdDialect("json"), dict)
    customer, agent = traffic.client(seat), traffic.client(seat)
    person = Person(customer, traffic.sender(customer, "Hello", [agent]), Visitor((), "mia@example.com"))
    answer = person.answers[agent] = traffic.sender(agent, "Yes", [customer], "k")
    answer.say(2)
    person.introduced, person.seen = True, seen
    sink = MailSink()
    sink.texts["mia@example.com"] = [text.replace("N", answer.name) for text in texts]
    sink.ids["<1@shop.example>"] = copies
    assert judge_mails([person], sink).told() == verdict


async def test_the_sink_keeps_what_chatd_would_send() -> None:
    sink = MailSink()
    async with sink.listening() as settings:
        for _ in range(2):
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Message-ID"] = "chat@shop.example", "Mia@example.com", "<1@shop.example>"
            mail.set_content("Yes, in blue as well.")
            mail.add_alternative("<p>Yes</p>", subtype="html")
            await aiosmtplib.send(mail, hostname=settings["smtp_host"], port=int(settings["smtp_port"]))
    assert sink.ids == {"<1@shop.example>": 2}
    assert [text.strip() for text in sink.texts["mia@example.com"]] == ["Yes, in blue as well."]
