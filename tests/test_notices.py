"""The rules of telling later: which addresses are taken, when a mail is due, what a mail server's answer means."""

from __future__ import annotations

import string
from email.headerregistry import Address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.domain.addresses import ADDRESS_CHARACTERS_MAX
from chatd.domain.commands import SettleMail
from chatd.domain.events import MailFailed, MailQueued, MailSent, MailWithdrawn
from chatd.domain.notices import (
    DAY_MS,
    HOUR_MS,
    LIFETIME_MS,
    MINUTE_MS,
    REASON_CHARACTERS_MAX,
    Delivery,
    MailRow,
    Stage,
    check_email,
    decide_delivery,
    due_after_reply,
    event_of,
    is_capped,
    judge_reply,
    make_message_id,
    plain_reply,
    plan_retry,
    plan_settlement,
    told_state,
)
from chatd.errors import InvalidInput, TooLarge

NOW = 1_763_790_000_000


def a_mail(**fields: object) -> MailRow:
    mail = MailRow(
        shop_id="shop1",
        id="mail1",
        conversation_id="conversation1",
        customer_id="customer1",
        email="mia@example.com",
        first=2,
        last=3,
        message_id="<c.m.r@shop.example>",
        state="sending",
        created_at=NOW,
        due_at=NOW,
        attempts=1,
        lease_owner="courier.1",
        lease_until=NOW + 120_000,
        reason="",
        doubtful=False,
        settled_at=None,
    )
    return msgspec.structs.replace(mail, **fields)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("mia@example.com", "mia@example.com"),
        ("  Mia.Berg+shop@Example.COM\t", "Mia.Berg+shop@example.com"),
        ("o'neill@mail.example.co.uk", "o'neill@mail.example.co.uk"),
        ("kontakt@müller.example", "kontakt@xn--mller-kva.example"),
        ("a@xn--r8jz45g.xn--zckzah", "a@xn--r8jz45g.xn--zckzah"),
        (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    ],
)
def test_an_address_is_kept_in_its_plain_form(typed: str, kept: str) -> None:
    assert check_email(typed) == kept
    assert check_email(kept) == kept


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "@ is missing"),
        ("mia", "@ is missing"),
        ("mia@", "nothing after"),
        ("@example.com", "nothing before"),
        ("mia@@example.com", "more than one @"),
        ("mia@shop", "ending of the domain"),
        ("mia@example.c", "ending of the domain"),
        ("mia@127.0.0.1", "ending of the domain"),
        ("mia@[127.0.0.1]", "no domain"),
        ("mia@-example.com", "no domain"),
        ("mia@exa_mple.com", "no domain"),
        ("mia@example..com", "no domain"),
        ("mia@example.com.", "no domain"),
        (".mia@example.com", "dot"),
        ("mia..b@example.com", "dot"),
        ("mia b@example.com", "space"),
        ("mia\u00a0b@example.com", "space"),
        ("mia\u2028@example.com", "space"),
        ("mia@example.com,eve@example.org", "one address only"),
        ("mia@example.com;eve@example.org", "one address only"),
        ("mia@example.com\r\nBcc: eve@example.org", "control character"),
        ("mia@example.com\n", "control character"),
        ("mia\x00@example.com", "control character"),
        ('"mia"@example.com', "character before"),
        ("Mia <mia@example.com>", "space"),
        ("<mia@example.com>", "character before"),
        ("mia(comment)@example.com", "character before"),
        ("victim%example.org@example.com", "character before"),
        ("example.org!victim@example.com", "character before"),
        ("|program@example.com", "character before"),
        ("миа@example.com", "letters from a to z"),
        ("mia\uff20example.com", "@ is missing"),
        ("mia@stra\u00dfe.example", "xn--"),
        ("mia@" + "\u00fc" * 70 + ".example", "no domain"),
        ("a" * 65 + "@example.com", "65 characters before"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(typed: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        check_email(typed)
    assert refused.value.facts == {"what": "email"}
    assert "eve" not in refused.value.message  # what was typed is not repeated


def test_an_address_beyond_the_limit_of_the_protocol_is_too_large() -> None:
    domain = ".".join(["a" * 60] * 4)
    with pytest.raises(TooLarge, match="the limit is 254"):
        check_email(f"mia-and-many-others@{domain}.com")


@given(st.text(max_size=300))
def test_whatever_passes_is_one_plain_mailbox(text: str) -> None:
    try:
        address = check_email(text)
    except InvalidInput:
        return
    _is_one_plain_mailbox(address)


@given(
    st.text(alphabet=string.ascii_letters + string.digits + ".+-_'%!\"\\ @,\r\n", max_size=70),
    st.text(alphabet=string.ascii_letters + string.digits + ".-_\u00fc\u3002[]", max_size=80),
)
def test_whatever_passes_is_one_plain_mailbox_near_the_grammar(local: str, domain: str) -> None:
    try:
        address = check_email(f"{local}@{domain}.com")
    except InvalidInput:
        return
    _is_one_plain_mailbox(address)


def _is_one_plain_mailbox(address: str) -> None:
    assert address.isascii()
    assert address.isprintable()
    assert len(address) <= ADDRESS_CHARACTERS_MAX
    assert address.count("@") == 1
    assert not set(address) & set(' ,;<>()[]:"\\')
    assert Address(addr_spec=address).addr_spec == address


# ---------------------------------------------------------------- digests


def test_a_reply_is_due_after_the_quiet_time_but_never_later_than_the_longest_wait() -> None:
    due = [due_after_reply(now=NOW + at, counted_from=NOW, quiet_ms=60, wait_ms_max=600) - NOW for at in (0, 500, 580)]
    assert due == [60, 560, 600]
    assert due_after_reply(now=NOW + 9_000, counted_from=NOW, quiet_ms=60, wait_ms_max=600) == NOW + 9_000


@pytest.mark.parametrize(
    ("seen", "online", "due_in", "decision"),
    [
        (1, False, 0, "send"),
        (2, False, 0, "send"),  # the last one is still unread
        (3, False, 0, "withdraw"),
        (9, True, 0, "withdraw"),
        (1, True, 0, "wait"),
        (1, False, 1, "wait"),
    ],
)
def test_before_each_attempt_it_is_asked_again(seen: int, online: bool, due_in: int, decision: str) -> None:
    mail = a_mail(due_at=NOW + due_in)
    assert decide_delivery(mail, seen_by_customer=seen, online=online, now=NOW) == decision


def test_an_unverified_address_gets_so_many_mails_for_so_many_customers_in_a_day() -> None:
    assert not is_capped(verified=False, mails_in_day=9, other_customers_in_day=2)
    assert is_capped(verified=False, mails_in_day=10, other_customers_in_day=0)
    assert is_capped(verified=False, mails_in_day=3, other_customers_in_day=3)
    assert not is_capped(verified=True, mails_in_day=100, other_customers_in_day=100)


def test_a_message_id_is_made_of_the_mail_and_the_shops_domain() -> None:
    assert make_message_id("c1", "m1", "r1", "hello@nordlys.example") == "<c1.m1.r1@nordlys.example>"
    assert make_message_id("c1", "m1", "r1", "") == "<c1.m1.r1@chatd.invalid>"


# ---------------------------------------------------------------- answers of the mail server


@pytest.mark.parametrize(
    ("stage", "code", "text", "result"),
    [
        # before the envelope: nothing has been said about this mail
        ("connect", 554, "5.7.1 blocked", "unavailable"),
        ("connect", 421, "too many connections", "unavailable"),
        ("hello", 550, "go away", "unavailable"),
        ("encryption", 454, "TLS not available", "unavailable"),
        ("login", 535, "5.7.8 bad credentials", "login_failed"),
        ("login", 534, "mechanism too weak", "login_failed"),
        ("login", 454, "4.7.0 try later", "unavailable"),
        ("sender", 530, "5.7.0 Authentication required", "login_failed"),
        # about this mail
        ("sender", 550, "not our domain", "refused"),
        ("recipient", 550, "5.1.1 User unknown", "refused"),
        ("recipient", 553, "no such mailbox", "refused"),
        ("recipient", 450, "4.2.0 Greylisted", "postponed"),
        ("recipient", 451, "local error", "postponed"),
        ("recipient", 452, "too many recipients", "postponed"),
        ("recipient", 552, "5.2.2 mailbox full", "postponed"),
        ("recipient", 552, "too many recipients", "postponed"),
        ("content", 552, "5.2.2 mailbox full", "postponed"),
        ("content", 552, "5.3.4 message too big", "refused"),
        ("content", 552, "exceeded", "refused"),
        ("content", 554, "5.7.1 looks like spam", "refused"),
        ("content", 451, "4.3.0 out of disk", "postponed"),
        # the server goes away in the middle
        ("recipient", 421, "shutting down", "postponed"),
        ("content", 421, "shutting down", "postponed"),
        # nonsense loses no mail
        ("content", -1, "Malformed", "postponed"),
        ("recipient", 354, "go ahead", "postponed"),
    ],
)
def test_the_class_of_an_answer_decides(stage: Stage, code: int, text: str, result: str) -> None:
    delivery = judge_reply(stage, code, text)
    assert delivery.result == result
    assert delivery.code == code
    assert (str(code) if code > 0 else text) in delivery.reason


def test_a_refused_login_does_not_repeat_what_the_server_said() -> None:
    assert "hunter2" not in judge_reply("login", 535, "5.7.8 bad password hunter2").reason


@given(st.integers(-1, 999), st.text(max_size=2_000))
def test_an_answer_is_shown_as_one_printable_bounded_line(code: int, text: str) -> None:
    line = plain_reply(code, text)
    assert line.isprintable()
    assert len(line) <= 170


def test_retries_come_after_1_5_30_minutes_2_and_6_hours_then_daily() -> None:
    now, due = NOW, []
    for attempt in range(1, 9):
        next_due = plan_retry(a_mail(attempts=attempt), now=now, jitter=0.5)
        assert next_due is not None
        due.append(next_due - now)
        now = next_due
    assert due == [
        MINUTE_MS,
        5 * MINUTE_MS,
        30 * MINUTE_MS,
        2 * HOUR_MS,
        6 * HOUR_MS,
        DAY_MS,
        DAY_MS,
        DAY_MS,
    ]


@given(st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_by_a_tenth_either_way(jitter: float) -> None:
    due = plan_retry(a_mail(attempts=2), now=NOW, jitter=jitter)
    assert due is not None
    assert 4.5 * MINUTE_MS - 1 <= due - NOW <= 5.5 * MINUTE_MS


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=30, max_size=30))
def test_a_server_that_never_comes_back_ends_after_five_days_and_not_before(chances: list[float]) -> None:
    now, attempts = NOW, 0
    for jitter in chances:
        attempts += 1
        next_due = plan_retry(a_mail(attempts=attempts), now=now, jitter=jitter)
        if next_due is None:
            break
        assert next_due > now
        now = next_due
    assert now == NOW + LIFETIME_MS
    assert attempts <= 12


def test_what_was_sent_or_refused_is_settled_at_once() -> None:
    sent = plan_settlement(a_mail(), Delivery("sent"), now=NOW, jitter=0)
    assert sent == SettleMail(mail="mail1", outcome="sent", owner="courier.1")
    refused = plan_settlement(a_mail(), Delivery("refused", "No such mailbox.", 550), now=NOW, jitter=0)
    assert (refused.outcome, refused.reason, refused.due_at) == ("failed", "No such mailbox.", None)


@pytest.mark.parametrize(
    "result", ["postponed", "unavailable", "unreachable", "login_failed", "insecure", "not_configured", "broken"]
)
def test_everything_else_is_tried_again_and_given_up_with_the_last_reason(result: str) -> None:
    delivery = Delivery(result, "No answer.", doubtful=True)  # type: ignore[arg-type]
    again = plan_settlement(a_mail(), delivery, now=NOW, jitter=0.5)
    assert (again.outcome, again.due_at, again.doubtful) == ("retrying", NOW + MINUTE_MS, True)
    over = plan_settlement(a_mail(attempts=10), delivery, now=NOW + LIFETIME_MS, jitter=0.5)
    assert (over.outcome, over.reason) == ("failed", "Given up after 5 days. No answer.")


def test_a_reason_is_bounded() -> None:
    settled = plan_settlement(a_mail(), Delivery("refused", "x" * 10_000), now=NOW, jitter=0)
    assert settled.reason is not None
    assert len(settled.reason) == REASON_CHARACTERS_MAX


# ---------------------------------------------------------------- what is told


def test_each_state_has_its_event() -> None:
    here = {"at": NOW, "customer": "customer1", "conversation": "conversation1"}
    span = {"mail": "mail1", "first": 2, "last": 3}
    to = {"email": "mia@example.com"}
    assert event_of(a_mail(state="queued"), at=NOW) == MailQueued(**here, **span, **to)  # type: ignore[arg-type]
    assert event_of(a_mail(state="sent"), at=NOW) == MailSent(**here, **span, **to)  # type: ignore[arg-type]
    assert event_of(a_mail(state="withdrawn"), at=NOW) == MailWithdrawn(**here, **span)  # type: ignore[arg-type]
    for state, final in (("retrying", False), ("failed", True)):
        told = event_of(a_mail(state=state, reason="No answer."), at=NOW)
        assert isinstance(told, MailFailed)
        assert (told.reason, told.final) == ("No answer.", final)


def test_staff_never_hear_of_a_mail_that_only_waits() -> None:
    assert told_state(a_mail(state="waiting")) is None
    assert told_state(a_mail(state="sending")) == "queued"
    assert told_state(a_mail(state="sending", reason="No answer.")) == "retrying"
    for state in ("queued", "sent", "retrying", "failed", "withdrawn"):
        assert told_state(a_mail(state=state)) == state
    with pytest.raises(AssertionError, match="waiting"):
        event_of(a_mail(state="waiting"), at=NOW)
