"""TCP between a client and a node's socket: in order, late, cut, half dead, or full because nobody reads.

`Wire` is one connection. On the node's side it is the transport of a real `web.socket.SocketProtocol`; the other side
is a `Peer`. What is written is delivered later and in order; each wire has chances of its own, so that the order in
which the hub serves its followers decides nothing.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatd.web.handshake import Accepted
from chatd.web.parts import Chat
from chatd.web.socket import SocketProtocol

WAY_SECONDS_MAX = 0.05
TORN_CHANCE = 0.1


class Peer(Protocol):
    def received(self, data: bytes) -> None: ...

    def lost(self) -> None:
        """The connection is gone, and this side knows it."""


class _Socket(SocketProtocol):
    """As in the program; only its place in a set does not depend on where it lies in memory."""

    __slots__ = ("_serial",)

    def __init__(self, chat: Chat, accepted: Accepted, on_lost: Callable[[], None], serial: int) -> None:
        super().__init__(chat, accepted, on_lost)
        self._serial = serial

    def __hash__(self) -> int:
        return self._serial

    def __eq__(self, other: object) -> bool:
        return self is other


class Wire:
    """`is_silent`: nothing passes, and nobody is told. `is_deaf`: what the node says does not arrive (its half is
    dead). `is_full`: the client has stopped reading."""

    def __init__(self, chat: Chat, accepted: Accepted, peer: Peer, *, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = chat.loop
        self.is_silent = self.is_deaf = self.is_full = False
        self._peer: Peer | None = peer
        self._up_at = self._down_at = 0.0
        self._up: deque[bytes] = deque()
        self._down: deque[bytes] = deque()
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._high = 65_536
        self._is_paused = False
        self._is_closing = False
        self.socket: _Socket | None = _Socket(chat, accepted, self._forget, seed)
        self.socket.connection_made(self)  # type: ignore[arg-type]

    def _forget(self) -> None:
        pass

    @property
    def is_in_use(self) -> bool:
        return self.socket is not None and self._peer is not None

    # ------------------------------------------------------------------ the client's side

    def send(self, data: bytes) -> None:
        pieces = [data]
        if len(data) > 1 and self.chance.random() < TORN_CHANCE:
            middle = self.chance.randrange(1, len(data))
            pieces = [data[:middle], data[middle:]]
        for piece in pieces:
            self._up_at = self._later(self._up_at)
            self._up.append(piece)
            self.loop.call_at(self._up_at, self._arrive)

    def _arrive(self) -> None:
        data = self._up.popleft()  # timers of one moment come in any order; bytes do not
        if self.socket is not None and not self.is_silent:
            self.socket.data_received(data)

    def drop(self) -> None:
        """The client hangs up, or is gone: the node hears of it, unless the line is silent."""
        self._peer = None
        self._up_at = self._later(self._up_at)
        self.loop.call_at(self._up_at, self._hang_up)

    def _hang_up(self) -> None:
        if not self.is_silent:
            self._lose()

    # ------------------------------------------------------------------ the network

    def reset(self) -> None:
        """Cut, and both sides are told."""
        self._lose()
        self.loop.call_at(self._later(self._down_at), self._tell_peer)

    def kill(self, *, is_told: bool) -> None:
        """The node is dead. Its kernel tells the client so, unless the whole machine is gone."""
        self.socket = None
        if is_told:
            self.loop.call_at(self._later(self._down_at), self._tell_peer)

    def heal(self) -> None:
        """The client reads again. What a dead line has swallowed stays swallowed: such a connection has to be given up
        by both sides themselves."""
        if self.is_full:
            self.read_on()

    def read_on(self) -> None:
        """The client reads again."""
        self.is_full = False
        unread, self._unread, self._unread_bytes = self._unread, [], 0
        for data in unread:
            self._bring(data)
        if self._is_paused:
            self._is_paused = False
            if self.socket is not None:
                self.socket.resume_writing()

    def _later(self, at: float) -> float:
        return max(at + 1e-6, self.loop.time() + self.chance.uniform(0, WAY_SECONDS_MAX))

    def _tell_peer(self) -> None:
        if self._peer is not None and not self.is_silent:
            peer, self._peer = self._peer, None
            peer.lost()

    def _lose(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.connection_lost(None)

    # ------------------------------------------------------------------ the node's side (asyncio.Transport)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or self._high

    def write(self, data: bytes) -> None:
        if self.socket is None or self._is_closing:
            return
        if self.is_full:
            self._unread.append(data)
            self._unread_bytes += len(data)
            if self._unread_bytes > self._high and not self._is_paused:
                self._is_paused = True
                self.socket.pause_writing()
        else:
            self._bring(data)

    def _bring(self, data: bytes) -> None:
        if not self.is_silent and not self.is_deaf:
            self._down_at = self._later(self._down_at)
            self._down.append(data)
            self.loop.call_at(self._down_at, self._hand_over)

    def _hand_over(self) -> None:
        data = self._down.popleft()
        if self._peer is not None and not self.is_silent and not self.is_deaf:
            self._peer.received(data)

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._end()

    def abort(self) -> None:
        self._unread.clear()
        self.close()

    def _end(self) -> None:
        self.loop.call_soon(self._lose)
        self._down_at = self._later(self._down_at)
        self.loop.call_at(self._down_at, self._tell_peer)

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
