"""One digest becomes one mail: headers, a text and an HTML part, and the link of the *Reply* button.

Promises: whatever people call themselves or write, the mail has one sender, one recipient and the headers below, and
its HTML holds their words as text. The same digest composed again has the same Message-ID. It loads nothing from
anywhere, is whole without pictures, and promises nothing that does not work: answering is by the button. It links to
nothing else than that and what staff wrote.

A person of the shop has written what it tells, so it carries no `Auto-Submitted` (RFC 3834 section 2: that is for what
no human has sent). It has no `List-Unsubscribe` as long as there is nothing behind it.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from chatd.config import Settings
from chatd.notify import headers
from chatd.notify.links import DAY_MS, ReplyLink, make_link, reply_url
from chatd.notify.texts import MailTexts, date, texts_for, time
from chatd.notify.web_addresses import Segment, segments_of
from chatd.resources import templates_directory
from chatd.store.digests import Digest, DigestMessage
from chatd.store.time_zones import time_zone

DEFAULT_COLOUR = "#0f766e"
PREVIEW_CHARACTERS = 120
GROUP_MS = 5 * 60_000  # messages of one person within five minutes stand under one name and time

# Everything above ASCII is written in quoted-printable or base64: any server takes it, with or without 8BITMIME.
_POLICY = SMTP.clone(cte_type="7bit")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
# A name that the visitor chose goes to an address that the visitor chose. Nothing that reads as an advertisement or
# becomes a link in a mail program is repeated there.
_GREETABLE = re.compile(r"[^\W\d_]+\.?(?:[ '’-][^\W\d_]+\.?){0,4}")
GREETED_CHARACTERS_MAX = 40


class ComposedMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail ready to be handed over: the envelope (RFC 5321 section 2.3.1) and its content, 7-bit with CRLF."""

    sender: str
    recipient: str
    content: bytes


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said in one go."""

    author: str
    initial: str
    time: str
    messages: list[list[list[Segment]]]  # each as its lines, and those as what is a link and what is not


class Composer:
    """Writes mails. Holds the templates; `settings` say where links lead and how long they work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._templates = Environment(
            loader=FileSystemLoader(templates_directory() / "mail"),
            autoescape=select_autoescape(disabled_extensions=("txt",), default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def sender_of(self, digest: Digest) -> str:
        """The address that the mail comes from; empty when there is none and it cannot be sent."""
        return digest.shop_email or self._settings.mail_from_fallback

    def compose(self, digest: Digest, *, now: int) -> ComposedMail:
        """The mail of this digest, dated now. Raises `InvalidInput` for an address that is none."""
        mail = digest.mail
        locale, texts = texts_for(digest.customer_locale, digest.shop_locale)
        expires_at = now + int(self._settings.reply_link_days * DAY_MS)
        link = reply_url(
            self._settings.base_url,
            make_link(
                ReplyLink(mail.shop_id, mail.customer_id, mail.conversation_id, expires_at), self._settings.secret
            ),
        )
        facts = {
            "locale": locale,
            "texts": texts,
            "shop": headers.one_line(digest.shop_name, headers.NAME_CHARACTERS_MAX),
            "name": greetable(digest.customer_name),
            "groups": groups_of(digest, texts),
            "left_out": digest.left_out > 0,
            "link": link,
            "expires": date(texts, expires_at, time_zone(digest.shop_time_zone)),
        }
        colour = digest.shop_colour if _COLOUR.fullmatch(digest.shop_colour) else DEFAULT_COLOUR
        html = self._templates.get_template("digest.html").render(
            facts, colour=colour, on_colour=text_colour_on(colour), preview=preview_of(digest)
        )
        sender = self.sender_of(digest)
        body = EmailMessage(policy=_POLICY)
        body.set_content(self._templates.get_template("digest.txt").render(facts))
        body.add_alternative(html, subtype="html")
        lines = {
            "From": headers.mailbox(digest.shop_name, sender),
            "To": headers.mailbox("", mail.email),
            "Reply-To": headers.mailbox(digest.shop_name, sender),
            "Subject": headers.subject(texts.subject.format(shop=facts["shop"])),
            "Date": format_datetime(datetime.fromtimestamp(now / 1_000, tz=UTC)),
            "Message-ID": headers.message_ids(mail.message_id),
            **_threading(digest.references),
            "Content-Language": locale,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return ComposedMail(sender=sender, recipient=mail.email, content=head.encode("ascii") + body.as_bytes())


def _threading(references: list[str]) -> dict[str, str]:
    """RFC 5322 section 3.6.4: what keeps the mails of one conversation together in a mail program."""
    if not references:
        return {}
    return {
        "In-Reply-To": headers.message_ids(references[-1]),
        "References": headers.message_ids(*references),
    }


def greetable(name: str) -> str:
    """The name if it can be repeated to whoever the address belongs to, else nothing."""
    name = headers.one_line(name, GREETED_CHARACTERS_MAX + 1)
    return name if len(name) <= GREETED_CHARACTERS_MAX and _GREETABLE.fullmatch(name) else ""


def groups_of(digest: Digest, texts: MailTexts) -> list[Group]:
    """The messages as they are shown, in order."""
    groups: list[Group] = []
    before: DigestMessage | None = None
    zone = time_zone(digest.shop_time_zone)
    for message in digest.messages:
        lines = [segments_of(line) for line in lines_of(message.text)]
        if before is not None and before.author == message.author and message.at - before.at < GROUP_MS:
            groups[-1].messages.append(lines)
        else:
            author = headers.one_line(message.author or digest.shop_name, headers.NAME_CHARACTERS_MAX)
            initial = next((character.upper() for character in author if character.isalnum()), "")
            groups.append(Group(author=author, initial=initial, time=time(texts, message.at, zone), messages=[lines]))
        before = message
    return groups


def lines_of(text: str) -> list[str]:
    """A message's lines, without the control characters that a terminal would obey."""
    return ["".join(filter(_is_text, line)) for line in text.splitlines()]


def _is_text(character: str) -> bool:
    return character == "\t" or unicodedata.category(character) not in ("Cc", "Cs")


def preview_of(digest: Digest) -> str:
    """What a list of mails shows beside the subject: the beginning of what was said."""
    return headers.one_line(" ".join(message.text for message in digest.messages)[:1_000], PREVIEW_CHARACTERS)


def text_colour_on(colour: str) -> str:
    """Black or white, whichever has the greater contrast on the colour (WCAG 2.2, relative luminance)."""

    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Contrast with white is 1.05 / (L + 0.05), with black (L + 0.05) / 0.05; they meet at L = 0.179.
    return "#ffffff" if luminance < 0.179 else "#000000"
