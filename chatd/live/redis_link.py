"""What the nodes of one installation say to each other through Redis: the contract (`Link`), and that of one Redis.

Redis's pub/sub keeps nothing for those who are away. Whoever subscribes through here is told when a subscription has
begun (`confirmed`), also after every return, and looks up elsewhere what it has missed. How a line is kept alive is in
`redis_line`; a cluster is in `redis_cluster`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chatd.live.redis_line import Line, Note, Owns, Source, connection_pool
from chatd.live.redis_listener import CLASSIC, Confirmed, Receiver

__all__ = ["Link", "Note", "Owns", "Receiver", "RedisLink", "Source"]


class Link(Protocol):
    """Made on the event loop; `start` it once everything is attached, `close` it at the end. `node` is unique to this
    start of this process."""

    node: str

    def attach(self, source: Source, own: bytes = b"") -> None:
        """`own`: how what it says begins, when that cannot be mistaken for what another node says. Redis sends it back,
        for this node listens as well, and it is not handed over."""

    def wake(self, channel: str | None = None) -> bool:
        """A source has something to say; on this channel, if it is one. Returns whether what is said goes out at
        present. While it does not, do better to forget than to keep."""

    def say(self, channel: str, payload: bytes) -> None:
        """Say one thing, if Redis is there: neither kept for later nor repeated."""

    def everywhere(self, channel: str) -> Sequence[str]:
        """The channels to use instead of this one for what every node must hear, whichever part of Redis is away. Who
        listens to all of them hears things several times."""

    def subscribe(self, channel: str, receiver: Receiver, confirmed: Confirmed = None) -> None:
        """Have `receiver(payload)` called for what is said there; `confirmed()` each time that listening has begun, and
        what was said before may have been missed."""

    def unsubscribe(self, channel: str) -> None: ...

    def is_publishing(self, channel: str) -> bool:
        """The same of one channel, when there is nothing to say."""

    @property
    def well_since(self) -> float | None:
        """Since when what is said everywhere would have been heard without a gap (the loop's time); None while it
        would not."""

    def trouble(self) -> str | None:
        """What is wrong, if anything."""

    def start(self) -> None: ...

    async def close(self) -> None:
        """Say what is still to be said, if Redis takes it at once, and hang up."""


class RedisLink:
    """The `Link` of a single Redis. `prefix` keeps several installations on it apart."""

    def __init__(self, url: str, *, prefix: str, node: str) -> None:
        self.node = node
        self.sources: list[Source] = []
        self.own = b""
        self._prefix = f"{prefix}:"
        self._line = Line(
            self,
            connection_pool(url, node).make_connection,
            name="Redis",
            verbs=CLASSIC,
            beat_channel=f"node:{node}:beat",
        )

    # ------------------------------------------------------------------ the contract

    def attach(self, source: Source, own: bytes = b"") -> None:
        self.sources.append(source)
        self.own = own or self.own

    def wake(self, channel: str | None = None) -> bool:
        return self._line.wake()

    def say(self, channel: str, payload: bytes) -> None:
        self._line.say((channel, payload))

    def everywhere(self, channel: str) -> Sequence[str]:
        return (channel,)

    def subscribe(self, channel: str, receiver: Receiver, confirmed: Confirmed = None) -> None:
        self._line.want(channel, receiver, confirmed)

    def unsubscribe(self, channel: str) -> None:
        self._line.unwant(channel)

    def is_publishing(self, channel: str) -> bool:
        return self._line.publishing

    @property
    def well_since(self) -> float | None:
        return self._line.well_since

    def trouble(self) -> str | None:
        if self._line.well_since is not None:
            return None
        return f"Redis is away ({self._line.reason or 'no answer'}); events reach other nodes later, by way of the log"

    def start(self) -> None:
        self._line.start()

    async def close(self) -> None:
        await self._line.close()

    # ------------------------------------------------------------------ for the line (`redis_line.Owner`)

    def full(self, channel: str) -> bytes:
        return (self._prefix + channel).encode()

    def pass_on(self, note: Note) -> None:
        """There is only the one line."""

    def beaten(self, line: Line) -> None:
        """The line knows it itself."""

    def moved(self, line: Line) -> None:
        """There is nowhere else to look; the line tries again."""
