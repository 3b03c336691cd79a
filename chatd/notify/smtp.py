"""Handing one mail to the mail server, and telling what came of it in one of a closed set of results.

Promises: `deliver` never raises because of the network or the server; each answer has its result and a reason in plain
words (`domain.notices`). No reason, log line or exception of it holds a password, or what the server said about one.

What makes an attempt *doubtful*: the text had been handed over and then nothing was heard. The server may have taken
the mail (its 250 was lost) or not (RFC 1047; RFC 5321 section 6.1). The second copy has the same Message-ID, by which
whoever receives both can drop one.

A connection that breaks once the envelope has begun is put down to this mail alone: if it were taken for the server's
failure, one mail that the server chokes on would hold up all others.

One connection a mail. Keeping connections open would save a few milliseconds and cost the certainty of whose answer is
whose after a timeout.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from typing import Protocol
from urllib.parse import urlsplit

import aiosmtplib

from chatd.config import Settings
from chatd.domain.notices import Delivery, DeliveryResult, Stage, judge_reply
from chatd.notify.compose import ComposedMail

CONTENT_SECONDS_MIN = 60.0  # servers look for viruses before they answer; giving up early makes second copies
QUIT_SECONDS = 2.0  # the mail is in good hands already; how politely we part must not hold a worker

logger = logging.getLogger("chatd.notify.smtp")


class Transport(Protocol):
    """Whatever takes mails out of the house."""

    async def deliver(self, mail: ComposedMail) -> Delivery:
        """Try once. Does not raise for anything that the other side does or is."""


class SMTPTransport:
    """The mail server of the settings. `tls` replaces the system's trust, for tests and private authorities."""

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls
        # RFC 5321 section 4.1.1.1: a client names itself by its host name.
        name = urlsplit(settings.base_url).hostname or "localhost"
        self._name = name if name.isascii() and ":" not in name else "localhost"

    async def deliver(self, mail: ComposedMail) -> Delivery:
        return await _Attempt(self._client(), self._settings).run(mail)

    async def check(self) -> Delivery:
        """Connect, encrypt and log in, without a mail: `sent` means that all of it worked."""
        return await _Attempt(self._client(), self._settings).run(None)

    def _client(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._settings.smtp_host,
            port=self._settings.smtp_port,
            local_hostname=self._name,
            timeout=self._settings.smtp_timeout_seconds,
            use_tls=self._settings.smtp_security == "tls",
            start_tls=False,  # done here, where it can be told from what comes before and after
            tls_context=self._tls,
        )


def make_transport(settings: Settings) -> SMTPTransport | None:
    """The transport of these settings; None when no mail server is set."""
    return SMTPTransport(settings) if settings.smtp_host else None


class _Attempt:
    """One conversation with the server. `stage` is where it stands, so that a failure knows where it happened."""

    def __init__(self, client: aiosmtplib.SMTP, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._stage: Stage = "connect"

    async def run(self, mail: ComposedMail | None) -> Delivery:
        try:
            delivery = await self._try(mail)
            await self._part()
            return delivery
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return self._judge_failure(error)
        finally:
            self._client.close()

    async def _try(self, mail: ComposedMail | None) -> Delivery:
        """Everything that is answered. Raises when it is not."""
        try:
            if refusal := await self._open():
                return refusal
            if mail is not None:
                await self._hand_over(mail)
        except aiosmtplib.SMTPResponseException as error:
            return judge_reply(self._stage, error.code, error.message)
        return Delivery("sent")

    async def _open(self) -> Delivery | None:
        client, settings = self._client, self._settings
        await client.connect()
        await self._greet()
        if settings.smtp_security == "starttls":
            self._stage = "encryption"
            # Going on in clear when it is not offered would let whoever stands between strip it (RFC 3207 section 6).
            if not client.supports_extension("starttls"):
                return Delivery("insecure", "The mail server offers no encryption (STARTTLS).")
            await client.starttls()
            await self._greet()
        if settings.smtp_username:
            self._stage = "login"
            if not client.supports_extension("auth") or not client.supported_auth_methods:
                return Delivery("login_failed", "The mail server offers no login that chatd knows.")
            await client.login(settings.smtp_username, settings.smtp_password)
        return None

    async def _greet(self) -> None:
        self._stage = "hello"
        try:
            await self._client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in (500, 502):  # a server from before ESMTP (RFC 5321 section 3.2)
                raise
            await self._client.helo()

    async def _hand_over(self, mail: ComposedMail) -> None:
        client = self._client
        self._stage = "sender"
        size = [f"SIZE={len(mail.content)}"] if client.supports_extension("size") else []  # RFC 1870 section 5
        await client.mail(mail.sender, options=size)
        self._stage = "recipient"
        await client.rcpt(mail.recipient)
        self._stage = "content"
        await client.data(mail.content, timeout=max(CONTENT_SECONDS_MIN, self._settings.smtp_timeout_seconds))

    def _judge_failure(self, error: Exception) -> Delivery:
        """No answer, or none that is one. Whatever ends after the text was handed over leaves a doubt."""
        doubtful = self._stage == "content"
        silent: DeliveryResult = "postponed" if self._stage in ("sender", "recipient", "content") else "unreachable"
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                return Delivery("insecure", _words_of_tls(cause), doubtful=doubtful)
            if isinstance(cause, socket.gaierror):
                return Delivery("unreachable", "The mail server's name is not known.")
            cause = cause.__cause__
        if isinstance(error, TimeoutError):
            return Delivery(silent, "The mail server did not answer in time.", doubtful=doubtful)
        if self._stage == "connect":
            return Delivery("unreachable", "The mail server cannot be reached.")
        if self._stage == "encryption":
            return Delivery("insecure", "The encryption with the mail server could not be set up.")
        return Delivery(silent, "The mail server broke off the connection.", doubtful=doubtful)

    async def _part(self) -> None:
        if self._client.is_connected:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await self._client.quit(timeout=QUIT_SECONDS)


def _words_of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The mail server's certificate does not hold ({error.verify_message})."
    return "The encryption with the mail server could not be set up."
