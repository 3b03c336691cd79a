"""What a mail looks like to the programs that carry it and to the person who reads it."""

from __future__ import annotations

import re
import string
from datetime import UTC
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import getaddresses
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.config import Settings
from chatd.errors import InvalidInput, NotAuthenticated
from chatd.i18n import LOCALES
from chatd.notify import headers
from chatd.notify.compose import Composer, greetable, text_colour_on
from chatd.notify.links import DAY_MS, ReplyLink, make_link, open_link, reply_url
from chatd.notify.texts import TEXTS, MailTexts, texts_for, time
from chatd.store.digests import Digest, DigestMessage
from tests.test_notices import NOW, a_mail

SECRET = "s" * 32
# What people have called themselves to get a header of their own into a mail.
HOSTILE = (
    "\r\nBcc: eve@example.org",
    "Mia\nBcc: eve@example.org\n\nbody",
    "Mia\u2028Bcc: eve@example.org",
    "Mia\x85Bcc: eve@example.org",
    "Mia\x0bBcc: eve@example.org\x0c\x1c\x1d\x1e",
    'Mia" <eve@example.org>, "x',
    "Lamp & Shop, Inc; <eve@example.org>",
    "=?utf-8?q?eve=40example.org=2C?= <eve@example.org>",
    "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLm9yZw==?=",
    "a" * 60 + ", " + "b" * 60,
    "\u202egnp.exe\u202c",
    "商店" * 80 + ", eve@example.org",
    "👩‍👩‍👧‍👦" * 40,
    '\\\\"\\',
    "(comment) group: eve@example.org;",
    "x" * 5_000,
    "\ud800",
    "\x00\x07",
)


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer(Settings(base_url="https://chat.nordlys.example", secret=SECRET, reply_link_days=14))


def said(*texts: str, author: str = "Leo", apart_ms: int = 1_000) -> list[DigestMessage]:
    return [DigestMessage(at=NOW + n * apart_ms, author=author, text=text) for n, text in enumerate(texts)]


def a_digest(**fields: object) -> Digest:
    digest = Digest(
        mail=a_mail(),
        shop_name="Nordlys Ceramics",
        shop_email="hello@nordlys.example",
        shop_colour="#0f766e",
        shop_locale="en",
        shop_time_zone="UTC",
        customer_name="Mia",
        customer_locale="",
        seen_by_customer=1,
        messages=said("Yes, three of them."),
        left_out=0,
        here=False,
        references=[],
        capped=False,
    )
    return msgspec.structs.replace(digest, **fields)


def read(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    content: str = found.get_content()
    return content.replace("\r\n", "\n")


def composed(composer: Composer, **fields: object) -> EmailMessage:
    return read(composer.compose(a_digest(**fields), now=NOW).content)


# ---------------------------------------------------------------- headers


def test_a_digest_is_a_persons_mail_from_the_shop(composer: Composer) -> None:
    mail = composed(composer)
    assert mail["From"] == "Nordlys Ceramics <hello@nordlys.example>"
    assert mail["Reply-To"] == "Nordlys Ceramics <hello@nordlys.example>"
    assert mail["To"] == "mia@example.com"
    assert mail["Subject"] == "Your chat with Nordlys Ceramics"
    assert mail["Message-ID"] == "<c.m.r@shop.example>"
    assert mail["Date"].datetime.timestamp() * 1_000 == NOW
    assert mail["Content-Language"] == "en"
    # A human wrote it, and nothing is promised that does not work.
    for absent in ("Auto-Submitted", "Precedence", "List-Unsubscribe", "In-Reply-To", "References", "Bcc", "Cc"):
        assert mail[absent] is None


def test_the_envelope_is_the_shops_address_and_the_customers(composer: Composer) -> None:
    mail = composer.compose(a_digest(), now=NOW)
    assert (mail.sender, mail.recipient) == ("hello@nordlys.example", "mia@example.com")


def test_a_shop_without_an_address_sends_from_the_fallback() -> None:
    composer = Composer(Settings(base_url="https://chat.example", secret=SECRET, mail_from_fallback="no@chat.example"))
    digest = a_digest(shop_email="")
    assert composer.sender_of(digest) == "no@chat.example"
    mail = composer.compose(digest, now=NOW)
    assert mail.sender == "no@chat.example"
    assert read(mail.content)["From"] == "Nordlys Ceramics <no@chat.example>"


def test_mails_of_a_conversation_stay_together(composer: Composer) -> None:
    before = [f"<c.m{n}.r@shop.example>" for n in range(20)]
    mail = composed(composer, references=before)
    assert mail["In-Reply-To"] == before[-1]
    assert mail["References"].split() == before
    assert mail["Subject"] == composed(composer)["Subject"]  # the same over the whole thread


def test_the_same_digest_has_the_same_message_id_whenever_it_is_tried(composer: Composer) -> None:
    first = read(composer.compose(a_digest(), now=NOW).content)
    second = read(composer.compose(a_digest(), now=NOW + DAY_MS).content)
    assert first["Message-ID"] == second["Message-ID"]
    assert part(first, "plain").splitlines()[:6] == part(second, "plain").splitlines()[:6]


def check_envelope(content: bytes) -> EmailMessage:
    """One sender, one recipient, the known headers in their order, 7-bit lines within the bounds of RFC 5322."""
    head = content.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if not line.startswith(b" ")]
    expected = ["From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Content-Language"]
    assert names == [*expected, *names[len(expected) :]]
    assert set(names[len(expected) :]) == {"Content-Type", "MIME-Version"}
    assert content.isascii()
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    modern = read(content)
    assert [address.addr_spec for address in modern["From"].addresses] == ["hello@nordlys.example"]
    assert [address.addr_spec for address in modern["To"].addresses] == ["mia@example.com"]
    # The older parser, which many programs share with this one, must see the same.
    older = message_from_bytes(content, policy=compat32)
    assert [address for _, address in getaddresses([older["From"], older["To"], older["Reply-To"]])] == [
        "hello@nordlys.example",
        "mia@example.com",
        "hello@nordlys.example",
    ]
    return modern


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_becomes_a_header_a_sender_or_a_second_mail(composer: Composer, text: str) -> None:
    messages = [DigestMessage(at=NOW, author=text, text="Hi\r\n.\r\nMAIL FROM:<eve@example.org>")]
    content = composer.compose(a_digest(shop_name=text, customer_name=text, messages=messages), now=NOW).content
    check_envelope(content)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=300))
def test_no_text_at_all_becomes_a_header(shop: str, author: str, text: str) -> None:
    composer = Composer(Settings(base_url="https://chat.example", secret=SECRET))
    messages = [DigestMessage(at=NOW, author=author, text=text)]
    check_envelope(composer.compose(a_digest(shop_name=shop, messages=messages), now=NOW).content)


@given(st.text(alphabet=string.printable + "é商👩\u200d\u2028", max_size=120))
def test_a_name_and_a_subject_come_out_as_they_went_in(text: str) -> None:
    plain = headers.one_line(text, headers.NAME_CHARACTERS_MAX)
    [(name, address)] = getaddresses([headers.mailbox(text, "a@example.com").replace("\r\n", "")])
    assert address == "a@example.com"
    assert str(make_header(decode_header(name))) == plain
    line = headers.subject(text)
    assert all(len(part) <= 76 or " " not in part.strip() for part in line.split("\r\n"))
    assert str(make_header(decode_header(line.replace("\r\n", "")))) == headers.one_line(
        text, headers.SUBJECT_CHARACTERS_MAX
    )


def test_an_address_or_message_id_that_could_break_a_header_is_refused() -> None:
    with pytest.raises(InvalidInput):
        headers.mailbox("Mia", "mia@example.com\r\nBcc: eve@example.org")
    with pytest.raises(ValueError, match="Message-ID"):
        headers.message_ids("<a@b.example>", "<a@b>\r\nBcc: eve@example.org")


# ---------------------------------------------------------------- what the person reads


def test_the_text_says_who_wrote_what_and_where_to_reply(composer: Composer) -> None:
    text = part(composed(composer, messages=said("Hello!", "And:\nmore")), "plain")
    assert text.startswith("Hello Mia,\n\nNordlys Ceramics has answered you in the chat.\n")
    assert "Leo · 22 Nov 2025, 05:40 UTC\n\nHello!\n\nAnd:\nmore\n" in text
    assert "To reply, open this page." in text
    assert re.search(r"^https://chat\.nordlys\.example/messages#link=v1\.\S+$", text, re.MULTILINE)
    assert "until 6 Dec 2025" in text


class Page(HTMLParser):
    """Tags, links and text of a mail's HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_html_has_one_link_and_loads_nothing(composer: Composer) -> None:
    page = Page(part(composed(composer), "html"))
    links = [value for name, value in page.attributes if name == "href"]
    assert len(links) == 1
    assert links[0].startswith("https://chat.nordlys.example/messages#link=v1.")
    assert not {"img", "script", "link", "iframe", "form", "object", "video"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "background") or name.startswith("on")]
    html = part(composed(composer), "html")
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_addresses_that_staff_wrote_are_links(composer: Composer) -> None:
    html = part(composed(composer, messages=said("See www.shop.example/a?b=1&c=2.")), "html")
    assert '<a href="https://www.shop.example/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer"' in html
    assert ">www.shop.example/a?b=1&amp;c=2</a>." in html


def test_names_are_never_links(composer: Composer) -> None:
    address = "https://evil.example"
    message = DigestMessage(at=NOW, author=address, text="Yes.")
    page = Page(part(composed(composer, shop_name=address, customer_name=address, messages=[message]), "html"))
    assert address not in [value for _, value in page.attributes]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}{% raw %}",
        "</td></table><a href='javascript:alert(1)'>Reply</a>",
        "&lt;b&gt;",
    ],
)
def test_words_stay_words_in_the_html(composer: Composer, text: str) -> None:
    plain = Page(part(composed(composer), "html"))
    mail = composed(
        composer,
        shop_name=text,
        customer_name=text,
        messages=[DigestMessage(at=NOW, author=text, text=text)],
        shop_colour="red;}*{background:url(//canary.example)}",
    )
    page = Page(part(mail, "html"))
    assert page.tags == plain.tags
    assert text in page.text
    assert "canary" not in part(mail, "html")
    assert text in part(mail, "plain")


def test_a_long_digest_says_that_there_is_more(composer: Composer) -> None:
    for kind in ("plain", "html"):
        assert "Earlier messages are in the chat." in part(composed(composer, left_out=3), kind)
        assert "Earlier messages are in the chat." not in part(composed(composer), kind)


def test_messages_of_one_person_in_a_row_stand_under_one_name(composer: Composer) -> None:
    near = part(composed(composer, messages=said("one", "two", "three")), "plain")
    assert near.count("Leo ·") == 1
    apart = part(composed(composer, messages=said("one", "two", "three", apart_ms=6 * 60_000)), "plain")
    assert apart.count("Leo ·") == 3


def test_control_characters_of_a_message_reach_no_terminal(composer: Composer) -> None:
    mail = composed(composer, messages=said("red \x1b[31malert\x1b[0m\x07\tend"))
    assert "red [31malert[0m\tend" in part(mail, "plain")


@pytest.mark.parametrize(
    ("name", "greeted"),
    [
        ("Mia", "Mia"),
        ("Anne-Marie O'Neill", "Anne-Marie O'Neill"),
        ("J. R. Dupont", "J. R. Dupont"),
        ("王小明", "王小明"),
        ("محمد", "محمد"),
        ("", ""),
        ("Win 1000 now", ""),
        ("evil.example", ""),
        ("https://evil.example", ""),
        ("eve@example.org", ""),
        ("A B C D E F G", ""),
        ("x" * 41, ""),
    ],
)
def test_only_what_reads_as_a_name_is_greeted(composer: Composer, name: str, greeted: str) -> None:
    assert greetable(name) == greeted
    text = part(composed(composer, customer_name=name), "plain")
    assert text.startswith(f"Hello {greeted},\n" if greeted else "Hello,\n")


@pytest.mark.parametrize(
    ("colour", "text"), [("#000000", "#ffffff"), ("#ffffff", "#000000"), ("#0f766e", "#ffffff"), ("#f5c518", "#000000")]
)
def test_the_buttons_text_can_be_read_on_the_shops_colour(composer: Composer, colour: str, text: str) -> None:
    assert text_colour_on(colour) == text
    assert f"background: {colour}" in part(composed(composer, shop_colour=colour), "html")


# ---------------------------------------------------------------- languages


def test_every_language_of_the_interface_has_its_mail() -> None:
    assert set(TEXTS) == set(LOCALES)


@pytest.mark.parametrize("field", MailTexts.__struct_fields__)
def test_every_language_fills_in_the_same_facts(field: str) -> None:
    def placeholders(texts: MailTexts) -> set[str]:
        value = getattr(texts, field)
        return set(re.findall(r"{(\w*)}", value)) if isinstance(value, str) else {str(len(value))}

    for locale, texts in TEXTS.items():
        assert placeholders(texts) == placeholders(TEXTS["en"]), locale
        assert all(getattr(texts, field)), locale


@pytest.mark.parametrize(
    ("customer", "shop", "spoken"),
    [("sv-SE", "en", "sv"), ("zh-Hans-CN", "en", "zh"), ("ja", "de", "de"), ("", "fr", "fr"), ("", "ja", "en")],
)
def test_the_customers_language_goes_before_the_shops(customer: str, shop: str, spoken: str) -> None:
    assert texts_for(customer, shop)[0] == spoken


def test_times_are_written_as_each_language_does() -> None:
    assert {locale: time(TEXTS[locale], NOW, UTC) for locale in LOCALES} == {
        "en": "22 Nov 2025, 05:40 UTC",
        "sv": "22 nov. 2025 kl. 05:40 UTC",
        "de": "22. Nov. 2025, 05:40 UTC",
        "es": "22 nov 2025, 05:40 UTC",
        "fr": "22 nov. 2025 à 05:40 UTC",
        "ru": "22 ноября 2025 г., 05:40 UTC",
        "zh": "2025年11月22日 05:40 UTC",
    }


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("Europe/Stockholm", "22 Nov 2025, 06:40 CET"),
        ("America/Los_Angeles", "21 Nov 2025, 21:40 PST"),
        ("America/Sao_Paulo", "22 Nov 2025, 02:40 UTC-03"),
        ("Of/Another/Machine", "22 Nov 2025, 05:40 UTC"),
    ],
)
def test_times_are_those_of_the_shops_clock(composer: Composer, zone: str, told: str) -> None:
    assert f"Leo · {told}\n" in part(composed(composer, shop_time_zone=zone), "plain")


@pytest.mark.parametrize("locale", LOCALES)
def test_a_mail_is_whole_in_every_language(composer: Composer, locale: str) -> None:
    mail = composed(composer, customer_locale=locale, left_out=1)
    texts = TEXTS[locale]
    assert mail["Subject"] == texts.subject.format(shop="Nordlys Ceramics")
    assert texts.why.format(shop="Nordlys Ceramics") in part(mail, "plain")
    html = part(mail, "html")
    assert f'<html lang="{locale}">' in html
    assert f">{texts.reply}</a>" in html
    assert "{" not in Page(html).text.partition("}\n</style>")[2].replace("{{", "")


# ---------------------------------------------------------------- the link


LINK = ReplyLink("shop1", "customer1", "conversation1", NOW + DAY_MS)


def test_the_link_in_the_mail_opens_the_thread_until_it_expires(composer: Composer) -> None:
    [url] = re.findall(r"https://\S+#link=\S+", part(composed(composer), "plain"))
    page, _, token = url.partition("#link=")
    assert page == "https://chat.nordlys.example/messages"
    link = open_link(token, SECRET, NOW)
    assert (link.shop, link.customer, link.conversation) == ("shop1", "customer1", "conversation1")
    assert link.expires_at == NOW + 14 * DAY_MS
    assert open_link(token, SECRET, NOW + 14 * DAY_MS - 1) == link
    with pytest.raises(NotAuthenticated, match="expired"):
        open_link(token, SECRET, NOW + 14 * DAY_MS)


def test_only_the_fragment_carries_the_token() -> None:
    token = make_link(LINK, SECRET)
    assert reply_url("https://chat.example", token) == f"https://chat.example/messages#link={token}"
    assert re.fullmatch(r"[A-Za-z0-9._-]+", token)


def test_a_changed_link_opens_nothing() -> None:
    token = make_link(LINK, SECRET)
    for at in range(len(token)):
        for other in ("A", "z", "."):
            if token[at] != other:
                with pytest.raises(NotAuthenticated):
                    open_link(token[:at] + other + token[at + 1 :], SECRET, NOW)
    other_payload = make_link(ReplyLink("shop1", "customer2", "conversation1", NOW + DAY_MS), SECRET).split(".")[1]
    version, _, signature = token.split(".")
    with pytest.raises(NotAuthenticated):
        open_link(f"{version}.{other_payload}.{signature}", SECRET, NOW)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "v1", "v1..", "v2.x.y", "v1.e30.", "é", "v1." + "A" * 5_000, "\ud800"]
)
def test_what_is_no_link_opens_nothing(token: str) -> None:
    with pytest.raises(NotAuthenticated):
        open_link(token, SECRET, NOW)


def test_a_link_of_another_server_opens_nothing() -> None:
    with pytest.raises(NotAuthenticated):
        open_link(make_link(LINK, "t" * 32), SECRET, NOW)
