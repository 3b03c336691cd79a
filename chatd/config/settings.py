"""The settings themselves: one frozen struct, each field with its default, bounds and meaning.

A field's description is what `chatd config` and the README's table say about it; a test keeps them the same.
"""

from __future__ import annotations

import os
import re
import secrets
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from chatd.domain.limits import Limits

SECRET_CHARACTERS_MIN = 32


# `secret` hides the value wherever settings are shown; `expected` completes the sentence "expected …".
def _text(description: str, expected: str = "a text", *, secret: bool = False) -> Meta:
    return Meta(description=description, extra={"expected": expected, "secret": secret})


def _number(lowest: float, highest: float, description: str) -> Meta:
    return Meta(ge=lowest, le=highest, description=description)


def absolute(path: Path | str) -> Path:
    """Absolute without following links, so that a later change of the working directory moves nothing."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - Path.resolve would follow links


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked and complete. See `table` for a person's view of them."""

    # ------------------------------------------------------------ where things are
    data_directory: Annotated[
        Path, _text("Folder of all that chatd keeps: the database, its copies and the signing secret.", "a folder")
    ] = Path("var")
    database_url: Annotated[
        str,
        _text(
            "The database: SQLite, or PostgreSQL for several nodes. Empty: `chatd.db` in the data directory.",
            "an address like sqlite:////srv/chatd/chatd.db or postgresql://user:password@host:5432/chatd",
            secret=True,
        ),
    ] = ""
    database_connections_max: Annotated[
        int, _number(2, 500, "Connections of each process to PostgreSQL. SQLite needs no such bound.")
    ] = 9
    redis_url: Annotated[
        str,
        _text(
            "Redis that several processes or nodes of chatd tell each other through. Several addresses, separated by"
            " commas, are servers of a Redis Cluster (Redis 7). Empty: this process is alone.",
            "an address like redis://127.0.0.1:6379, rediss://… or unix://…",
            secret=True,
        ),
    ] = ""
    secret: Annotated[
        str,
        _text(
            "Signs cookies, tickets, visitor tokens and reply links. Empty: made at the first start and kept in"
            " `secret.key` in the data directory. Changing it logs everybody out.",
            f"at least {SECRET_CHARACTERS_MIN} characters, for example from `openssl rand -hex 32`",
            secret=True,
        ),
    ] = ""

    # ------------------------------------------------------------ how it is reached
    host: Annotated[str, _text("Address to listen on; 0.0.0.0 for all.", "an IP address or host name")] = "127.0.0.1"
    port: Annotated[int, _number(0, 65_535, "Port to listen on; 0 lets the system choose.")] = 8000
    base_url: Annotated[
        str,
        _text(
            "Address under which browsers reach chatd; every link in a mail starts with it. Empty:"
            " `http://localhost` with the port.",
            "an address like https://chat.example.com, without a path",
        ),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        _text(
            "Further host names that chatd answers to. That of the base URL and localhost always count.",
            "host names without scheme or port, separated by commas",
        ),
    ] = ()
    trusted_proxies: Annotated[
        int,
        _number(
            0,
            10,
            "How many reverse proxies of yours stand in front; so many of the last entries of `X-Forwarded-For` are"
            " believed.",
        ),
    ] = 0

    # ------------------------------------------------------------ what it writes about itself
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important line to log.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Meta(description="Log lines for people or for machines.")] = "text"

    # ------------------------------------------------------------ mail
    smtp_host: Annotated[str, _text("Mail server that takes outgoing mail. Empty: mails stay queued.")] = ""
    smtp_port: Annotated[int, _number(0, 65_535, "Its port. 0: 587 with starttls, 465 with tls, 25 with none.")] = 0
    smtp_security: Annotated[
        Literal["none", "starttls", "tls"],
        Meta(description="How the connection is protected. `none` is for a mail server on the same machine."),
    ] = "starttls"
    smtp_username: Annotated[str, _text("Login at the mail server. Empty: none.")] = ""
    smtp_password: Annotated[str, _text("Its password.", secret=True)] = ""
    smtp_timeout_seconds: Annotated[float, _number(1, 600, "Patience with each answer of the mail server.")] = 20.0
    mail_from_fallback: Annotated[
        str,
        _text(
            "Sender of mails of a shop that has no address of its own. Empty: such mails stay queued.",
            "an e-mail address",
        ),
    ] = ""
    digest_quiet_seconds: Annotated[
        float, _number(0, 86_400, "A reply is mailed when no further one followed for this long.")
    ] = 60.0
    digest_wait_seconds_max: Annotated[
        float, _number(0, 604_800, "A reply is mailed after this long even if more keep following.")
    ] = 600.0
    outbox_lease_seconds: Annotated[
        float, _number(5, 3_600, "After this long a mail whose courier died is taken up by another.")
    ] = 120.0
    reply_link_days: Annotated[float, _number(1, 365, "How long the *Reply* link of a mail works.")] = 14.0

    # ------------------------------------------------------------ connections
    heartbeat_seconds: Annotated[float, _number(1, 600, "A connection that was quiet for this long is pinged.")] = 25.0
    silent_after_seconds: Annotated[
        float, _number(2, 1_200, "A connection from which nothing came for this long, not even a pong, is closed.")
    ] = 30.0
    handshake_timeout_seconds: Annotated[
        float, _number(0.1, 600, "Time for the head of a request, WebSocket handshakes included, to arrive.")
    ] = 10.0
    hello_timeout_seconds: Annotated[float, _number(0.1, 600, "Time for the hello after the handshake.")] = 10.0
    connections_per_address_max: Annotated[
        int, _number(1, 1_000_000, "Open connections from one IP address (IPv6: one /64).")
    ] = 64
    admissions_per_second_max: Annotated[
        float,
        _number(
            1,
            1_000_000,
            "Sockets that are let in each second, of customers and of staff; who is over it is told when to come back."
            " The pace at which clients come back after a stop, too.",
        ),
    ] = 300.0
    connection_queue_bytes_max: Annotated[
        int, _number(65_536, 2**30, "Bytes waiting for a slow client before it is told to come back.")
    ] = 1_048_576
    connection_queue_frames_max: Annotated[
        int, _number(16, 1_000_000, "Frames waiting for a slow client before it is told to come back.")
    ] = 256
    frame_bytes_max: Annotated[int, _number(1_024, 2**24, "Size of one WebSocket message from a client.")] = 65_536
    request_body_bytes_max: Annotated[int, _number(1_024, 2**30, "Size of the body of an HTTP request.")] = 262_144
    commands_per_window_max: Annotated[
        int, _number(1, 1_000_000, "Commands and queries of one connection in a window.")
    ] = 20
    command_window_seconds: Annotated[float, _number(0.1, 3_600, "Length of that window.")] = 10.0
    resume_events_max: Annotated[
        int, _number(1, 100_000, "Missed events that are replayed; who missed more loads everything anew.")
    ] = 1_000
    drain_seconds: Annotated[
        float, _number(0, 600, "Time to finish and to send clients elsewhere when chatd is stopped.")
    ] = 10.0

    metrics_token: Annotated[
        str, _text("Whoever shows it may read `/metrics` (Prometheus). Empty: nobody may.", secret=True)
    ] = ""

    # ------------------------------------------------------------ presence
    presence_leave_grace_seconds: Annotated[
        float, _number(0, 600, "A customer without any open page is offline after this long; covers a page change.")
    ] = 5.0
    presence_hidden_grace_seconds: Annotated[
        float, _number(0, 86_400, "A customer whose pages are all hidden is offline after this long.")
    ] = 60.0

    # ------------------------------------------------------------ topics
    topics: Annotated[
        Literal["on", "off"],
        Meta(
            description="Whether customers' messages are read for their topics: by a model on this machine, in a"
            " process of its own that starts with the first message."
        ),
    ] = "on"
    topics_model: Annotated[
        str,
        _text(
            "The model's file. Empty: `topics-model.npz` in the data directory if `chatd topics train` has made one"
            " there, else the one that comes with chatd.",
            "a file",
        ),
    ] = ""

    # ------------------------------------------------------------ the log and logins
    log_gather_milliseconds: Annotated[
        float, _number(0, 1_000, "How long a commit waits for company while many messages come at once; 0: not.")
    ] = 2.0
    event_retention_days: Annotated[
        float, _number(1, 36_500, "Events that do not stand in a thread are kept this long; threads for ever.")
    ] = 30.0
    session_days: Annotated[float, _number(0.01, 365, "Staff log in again after this long.")] = 14.0
    session_idle_hours: Annotated[
        float, _number(0.1, 8_760, "Staff log in again after not using chatd for this long.")
    ] = 72.0

    def __post_init__(self) -> None:
        def settle(name: str, value: Any) -> None:
            msgspec.structs.force_setattr(self, name, value)

        settle("data_directory", absolute(self.data_directory))
        if not self.database_url:
            settle("database_url", f"sqlite:///{self.data_directory / 'chatd.db'}")
        if not self.base_url:
            settle("base_url", f"http://localhost:{self.port}")
        if not self.smtp_port:
            settle("smtp_port", {"none": 25, "starttls": 587, "tls": 465}[self.smtp_security])
        if not self.secret:
            settle("secret", secrets.token_hex(32))

    @property
    def uses_postgres(self) -> bool:
        """Whether the database is PostgreSQL; else it is the SQLite file `database_path`."""
        return not self.database_url.startswith("sqlite:")

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        assert not self.uses_postgres, "a database on a server is no file"
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def redis_urls(self) -> tuple[str, ...]:
        """None, the one Redis, or several servers of a cluster."""
        return addresses_in(self.redis_url)

    @property
    def topics_model_path(self) -> Path | None:
        """The model that was named; None: the usual one."""
        return absolute(self.topics_model) if self.topics_model else None

    @property
    def origin(self) -> str:
        """What a browser sends as `Origin` from chatd's own pages."""
        return self.base_url

    @property
    def hosts(self) -> frozenset[str]:
        """Every host name that a request may be addressed to."""
        return frozenset(
            {urlsplit(self.base_url).hostname or "", "localhost", "127.0.0.1", "::1", *self.allowed_hosts}
        ) - {""}

    def limits(self) -> Limits:
        """The limits that travel to clients and bind the protocol and the rules."""
        return Limits(
            frame_bytes_max=self.frame_bytes_max,
            commands_per_window_max=self.commands_per_window_max,
            command_window_seconds=self.command_window_seconds,
            resume_events_max=self.resume_events_max,
            heartbeat_seconds=self.heartbeat_seconds,
        )

    def shown(self, name: str) -> str:
        """A value as a person may see it: secrets are replaced, lists joined."""
        value = getattr(self, name)
        if is_secret(name):
            return without_password(value) if name.endswith("_url") else ("(hidden)" if value else "")
        if isinstance(value, tuple):
            return ", ".join(value)
        if isinstance(value, float):
            return f"{value:g}"
        return str(value)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={self.shown(name)!r}' for name in self.__struct_fields__)})"


_HINTS = types.MappingProxyType(typing.get_type_hints(Settings, include_extras=True))


def type_of(name: str) -> Any:
    """The type of a setting with its bounds, for `msgspec.convert`."""
    return _HINTS[name]


def kind_of(name: str) -> Any:
    """The plain type of a setting."""
    return _HINTS[name].__origin__


def meta_of(name: str) -> Meta:
    """Bounds, description and the rest of what is known of a setting."""
    return next(part for part in _HINTS[name].__metadata__ if isinstance(part, Meta))


def is_secret(name: str) -> bool:
    """Whether the value of this setting, or a part of it, must never be shown."""
    return bool((meta_of(name).extra or {}).get("secret"))


def addresses_in(given: str) -> tuple[str, ...]:
    """One URL or several, separated by commas."""
    # A comma inside a URL (in a password, or in a list of hosts) is no end of it.
    return tuple(one for part in re.split(r",(?=\s*\w+://)", given) if (one := part.strip()))


def without_password(given: str) -> str:
    """A URL, or several, as they may be shown. PostgreSQL takes passwords as options, too."""

    def hidden(address: str) -> str:
        parts = urlsplit(address)
        address = re.sub(r"([?&](?:ssl)?password=)[^&#]*", r"\1(hidden)", address, flags=re.IGNORECASE)
        return address if parts.password is None else address.replace(f":{parts.password}@", ":(hidden)@", 1)

    return ",".join(hidden(address) for address in addresses_in(given))
