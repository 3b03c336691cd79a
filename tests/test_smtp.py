"""One mail to one real server: every answer has its result, and no secret comes back out."""

from __future__ import annotations

import asyncio
import logging

import pytest

from chatd.domain.notices import Delivery
from chatd.notify.compose import ComposedMail
from chatd.notify.smtp import SMTPTransport, make_transport
from tests.smtp_server import Sink, listening, saying, settings_for, trusting_tls

MAIL = ComposedMail(
    sender="hello@nordlys.example",
    recipient="mia@example.com",
    content=b"From: hello@nordlys.example\r\nMessage-ID: <1@nordlys.example>\r\n\r\nHi\r\n.\r\nthere\r\n",
)


async def deliver(port: int, **fields: object) -> Delivery:
    return await SMTPTransport(settings_for(port, **fields)).deliver(MAIL)


async def test_a_mail_is_taken_whole_to_one_recipient() -> None:
    async with listening(Sink()) as sink:
        assert await deliver(sink.port) == Delivery("sent")
        assert sink.envelopes == [("hello@nordlys.example", ["mia@example.com"])]
        [mail] = sink.received
        assert mail.get_content().splitlines() == ["Hi", ".", "there"]


@pytest.mark.parametrize(
    ("where", "answer", "result", "doubtful"),
    [
        ("on_mail", "550 5.7.1 not your address", "refused", False),
        ("on_mail", "451 4.3.0 later", "postponed", False),
        ("on_rcpt", "550 5.1.1 User unknown", "refused", False),
        ("on_rcpt", "450 4.2.0 Greylisted", "postponed", False),
        ("on_rcpt", "552 5.2.2 mailbox full", "postponed", False),
        ("on_rcpt", "421 4.3.2 shutting down", "postponed", False),
        ("on_rcpt", "hang up", "postponed", False),
        ("on_data", "451 4.3.0 later", "postponed", False),
        ("on_data", "552 5.3.4 too big", "refused", False),
        ("on_data", "554 5.7.1 spam", "refused", False),
        ("on_data", "hang up", "postponed", True),
        ("on_data", "lose", "postponed", True),
    ],
)
async def test_each_answer_has_its_result(where: str, answer: str, result: str, doubtful: bool) -> None:
    async with listening(Sink()) as sink:
        getattr(sink, where).append(answer)
        delivery = await deliver(sink.port)
        assert (delivery.result, delivery.doubtful) == (result, doubtful)
        assert delivery.reason
        if answer[0].isdigit():
            assert delivery.code == int(answer[:3])
            assert answer in delivery.reason
        # The next attempt is none the worse for it.
        assert (await deliver(sink.port)).result == "sent"


async def test_a_tarpit_is_left_after_the_timeout() -> None:
    async with listening(Sink()) as sink:
        sink.on_rcpt.append("stall")
        delivery = await deliver(sink.port, smtp_timeout_seconds=0.2)
        assert (delivery.result, delivery.doubtful) == ("postponed", False)


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        (("554 5.7.1 we do not talk to you",), "unavailable"),
        (("421 too many connections",), "unavailable"),
        (("220 hello", "550 go away", "221 bye"), "unavailable"),
        (("220 hello",), "unreachable"),
        ((), "unreachable"),
        (("HTTP/1.1 400 Bad Request",), "unavailable"),
    ],
)
async def test_what_happens_before_the_envelope_is_about_the_server(lines: tuple[str, ...], result: str) -> None:
    async with saying(*lines) as port:
        delivery = await deliver(port)
        assert delivery.result == result
        assert delivery.server_wide


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with saying() as port:
        pass
    delivery = await deliver(port)
    assert (delivery.result, delivery.reason) == ("unreachable", "The mail server cannot be reached.")
    delivery = await deliver(port, smtp_host="mail.invalid")
    assert (delivery.result, delivery.reason) == ("unreachable", "The mail server's name is not known.")


async def test_a_server_from_before_esmtp_is_greeted_the_old_way() -> None:
    async with saying("220 hello", "502 what", "250 hello", "250 ok", "250 ok", "354 go", "250 ok", "221 bye") as port:
        assert await deliver(port) == Delivery("sent")


# ---------------------------------------------------------------- encryption and login


async def test_mail_goes_encrypted_by_starttls_and_by_tls() -> None:
    for mode in ({"starttls": True}, {"tls": True}):
        async with listening(Sink(), **mode) as sink:
            settings = settings_for(sink.port, smtp_host="localhost", smtp_security=next(iter(mode)))
            assert await SMTPTransport(settings, tls=trusting_tls()).deliver(MAIL) == Delivery("sent")
            assert len(sink.received) == 1


async def test_a_server_without_starttls_gets_no_mail_in_clear() -> None:
    async with listening(Sink()) as sink:
        delivery = await deliver(sink.port, smtp_security="starttls")
        assert (delivery.result, delivery.reason) == ("insecure", "The mail server offers no encryption (STARTTLS).")
        assert sink.asked == 0


@pytest.mark.parametrize("mode", ["starttls", "tls"])
async def test_a_certificate_that_does_not_hold_gets_no_mail(mode: str) -> None:
    async with listening(Sink(), **{mode: True}) as sink:
        delivery = await deliver(sink.port, smtp_host="localhost", smtp_security=mode)
        assert delivery.result == "insecure"
        assert "certificate does not hold" in delivery.reason
        assert sink.asked == 0


async def test_tls_to_a_port_that_speaks_none_is_insecure() -> None:
    async with listening(Sink()) as sink:
        assert (await deliver(sink.port, smtp_security="tls")).result == "insecure"


async def test_the_right_login_is_taken() -> None:
    async with listening(Sink(), login=True) as sink:
        assert (await deliver(sink.port, smtp_username="shop", smtp_password="right")).result == "sent"
        assert ("shop", "right") in sink.logins


async def test_a_wrong_login_is_told_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="chatd")
    async with listening(Sink(), login=True) as sink:
        delivery = await deliver(sink.port, smtp_username="shop", smtp_password="hunter2-secret")
        assert (delivery.result, delivery.code) == ("login_failed", 535)
        assert delivery.server_wide
        assert sink.asked == 0
        told = f"{delivery!r} {caplog.text}"
        assert "hunter2" not in told
        assert "aHVudGVy" not in told  # nor as base64


async def test_a_server_that_offers_no_login_is_told() -> None:
    async with listening(Sink()) as sink:
        delivery = await deliver(sink.port, smtp_username="shop", smtp_password="right")
        assert delivery.result == "login_failed"


async def test_the_server_can_be_checked_without_a_mail() -> None:
    async with listening(Sink(), login=True) as sink:
        settings = settings_for(sink.port, smtp_username="shop", smtp_password="right")
        assert await SMTPTransport(settings).check() == Delivery("sent")
        assert sink.asked == 0
        wrong = settings_for(sink.port, smtp_username="shop", smtp_password="wrong")
        assert (await SMTPTransport(wrong).check()).result == "login_failed"


async def test_without_a_server_there_is_no_transport() -> None:
    assert make_transport(settings_for(25, smtp_host="")) is None
    assert make_transport(settings_for(25)) is not None


async def test_a_cancelled_attempt_leaves_no_connection() -> None:
    async with listening(Sink()) as sink:
        sink.on_rcpt.append("stall")
        attempt = asyncio.create_task(deliver(sink.port))
        await sink.wait_for_stalled(1)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await sink.wait_for_stalled(0)
