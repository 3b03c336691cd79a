"""One open socket of chatd: from a connection's messages to commands, from the hub's events to its frames.

* `web.connection` moves the bytes, `wire.protocol` judges; commands go to the dispatcher with a callback, queries and
  the welcome run as tasks, for they wait for reads.
* Between hello and welcome, events are kept aside with their numbers and merged (`web.welcome`); what the welcome had
  already is skipped, whenever the bus brings it.
* What an event costs for each of a thousand followers is `deliver`: two comparisons and an append.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any

from chatd.domain.commands import (
    CUSTOMER_COMMANDS,
    CUSTOMER_QUERIES,
    STAFF_COMMANDS,
    STAFF_QUERIES,
    Command,
    Query,
    SetActive,
    SetTyping,
)
from chatd.domain.people import Actor
from chatd.errors import ChatError, NotAuthenticated, Temporary
from chatd.live.hub import Chunk
from chatd.web.connection import Connection
from chatd.web.handshake import Accepted
from chatd.web.identify import Identified, identify_customer, identify_staff, make_visitor
from chatd.web.parts import Chat
from chatd.web.typing_signals import TypingSignals
from chatd.web.welcome import (
    Backlog,
    Beginning,
    missed_frames,
    newcomers_beginning,
    own_frame,
    person_of,
    read_beginning,
    stream_of,
    welcome_message,
)
from chatd.wire.codes import CloseCode
from chatd.wire.frames import Codec, Hello, ack_frame, encode, error_frame
from chatd.wire.protocol import Close, Reply, ServerProtocol, State
from chatd.wire.websocket import BINARY, TEXT

QUERIES_MAX = 8

_EXPECTED: dict[Codec, int] = {"json": TEXT, "msgpack": BINARY}

logger = logging.getLogger("chatd.socket")


class SocketProtocol(Connection):
    """See the module's text. Made by the front when a handshake was accepted; the transport is then handed over."""

    __slots__ = (
        "_address",
        "_backlog",
        "_expected",
        "_number",
        "_protocol",
        "_queries",
        "_shop",
        "_takes_all",
        "_typing",
        "actor",
        "codec",
        "name",
        "session",
    )

    def __init__(
        self, chat: Chat, accepted: Accepted, on_lost: Callable[[], None] | None = None, address: str = ""
    ) -> None:
        super().__init__(chat, on_lost)
        self._address = address
        self.codec: Codec = accepted.codec
        self.name = secrets.token_hex(8)
        self.actor: Actor | None = None
        self.session: str | None = None
        self._shop = accepted.shop
        self._expected = _EXPECTED[accepted.codec]
        self._protocol = ServerProtocol(accepted.side, accepted.codec, chat.limits)
        self._backlog: Backlog | None = None
        self._number = 0  # of its stream, the last that this client was sent
        self._takes_all = False  # welcomed, and to be sent every event of its stream as it stands
        self._queries = 0
        self._typing: TypingSignals | None = None

    # ------------------------------------------------------------------ beginning and end

    def began(self) -> float:
        self.chat.sockets.add(self)
        return self._heard_at + self.chat.settings.hello_timeout_seconds

    def ended(self) -> None:
        self._backlog = None
        self._takes_all = False
        self._protocol.closed()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.chat.farewells.admits():
            self._leave()
        else:
            self.chat.farewells.put_off(self._leave)

    def _leave(self) -> None:
        """Be in no list any more. Until then the hub may deliver, which is thrown away."""
        chat = self.chat
        chat.sockets.discard(self)
        if not chat.sockets:
            chat.emptied.set()
        actor = self.actor
        if actor is not None:
            chat.hub.unfollow(self, actor.shop, stream_of(actor))
            chat.presence.release(actor.shop, person_of(actor), self.name, now=chat.loop.time())

    def send_elsewhere(self, delay_ms: int) -> None:
        """This node goes away: come back to another one, or to the next start, after this long."""
        self.close(CloseCode.DRAINING, f'{{"delay_ms":{delay_ms}}}')

    def end_session(self) -> None:
        self.close(CloseCode.SESSION_ENDED, "logged out")

    def check(self, now: float) -> float | None:
        if self._protocol.state is not State.HELLO or self.is_gone():
            return super().check(now)
        # The first look. Nothing but a hello counts as a sign of life before it.
        seconds = self.chat.settings.hello_timeout_seconds
        self.close(CloseCode.HELLO_TIMEOUT, f"no hello within {seconds:g} s")
        return None

    # ------------------------------------------------------------------ in

    def received(self, opcode: int, payload: bytes) -> None:
        if opcode != self._expected:
            self.close(CloseCode.UNSUPPORTED_DATA, f"chatd.v1.{self.codec} does not use this kind of frame")
            return
        outcome = self._protocol.receive(payload, self._heard_at)
        if outcome is not None:
            _WAYS[type(outcome)](self, outcome)

    def allows_control(self) -> Close | None:
        return self._protocol.receive_control(self._heard_at)

    def _reply(self, reply: Reply) -> None:
        self.send(reply.frame)

    def _end(self, close: Close) -> None:
        if close.frame:
            self.send(close.frame)
        self.close(close.code, close.reason)

    def _carry_out(self, command: Command) -> None:
        assert self.actor is not None
        client_id = command.id
        refusal = self.chat.pace.refusal(self.actor, self._address, self._heard_at)
        if refusal is not None:
            self.send(error_frame(self.codec, client_id, refusal))
            return

        def answer(result: bytes | None, error: ChatError | None) -> None:
            if error is not None:
                self.send(error_frame(self.codec, client_id, error))
            elif result is not None:
                self.send(ack_frame(self.codec, client_id, result))

        self.chat.dispatch.submit(self.actor, command, answer)

    def _ask(self, query: Query) -> None:
        if self._queries >= QUERIES_MAX:
            self.send(error_frame(self.codec, query.id, Temporary(f"{QUERIES_MAX} queries are under way already")))
            return
        assert self.actor is not None
        refusal = self.chat.pace.refusal(self.actor, self._address, self._heard_at)
        if refusal is not None:
            self.send(error_frame(self.codec, query.id, refusal))
            return
        self._queries += 1
        self.chat.spawn(self._answer(query))

    async def _answer(self, query: Query) -> None:
        assert self.actor is not None
        try:
            data = await self.chat.dispatch.ask(self.actor, query)
            self.send(encode(self.codec, {"type": "result", "id": query.id, "data": data}))
        except ChatError as error:
            self.send(error_frame(self.codec, query.id, error))
        except Exception:
            logger.exception("%s failed", type(query).__name__)
            self.send(error_frame(self.codec, query.id, Temporary("chatd could not answer this; try again")))
        finally:
            self._queries -= 1

    def _set_active(self, signal: SetActive) -> None:
        assert self.actor is not None
        self.chat.presence.hold(
            self.actor.shop, person_of(self.actor), self.name, active=signal.active, now=self._heard_at
        )

    def _signal_typing(self, signal: SetTyping) -> None:
        assert self.actor is not None
        if self._typing is None:
            self._typing = TypingSignals(self, self.actor)
        self._typing.pass_on(signal)

    # ------------------------------------------------------------------ hello and welcome

    def _greet(self, hello: Hello) -> None:
        """Who was never here is welcomed at once: there is nothing to read, so nothing to wait for."""
        chat, shop = self.chat, self._shop
        if shop is not None and hello.token is None and hello.identity is None and hello.resume is None:
            identified = make_visitor(chat, shop, hello)
            beginning = newcomers_beginning(chat, identified.actor)
            if beginning is not None:
                chat.newcomers.add(identified.actor.id)
                self._follow(identified, hello)
                chat.newcomers.discard(identified.actor.id)
                chat.hub.begin(identified.actor.shop, beginning.shop_number)
                self._begin(identified, hello, beginning)
                return
        chat.spawn(self._welcome(hello))

    async def _welcome(self, hello: Hello) -> None:
        chat = self.chat
        try:
            if self._shop is None:
                identified = await identify_staff(chat, hello)
            else:
                identified = await identify_customer(chat, self._shop, hello)
            if self.is_gone():
                return
            self._follow(identified, hello)
            beginning = await read_beginning(chat, identified.actor, hello.resume)
            while not self.is_gone() and not chat.hub.begin(identified.actor.shop, beginning.shop_number):
                beginning = await read_beginning(chat, identified.actor, hello.resume)
        except NotAuthenticated as error:
            self.send(error_frame(self.codec, None, error))
            self.close(CloseCode.NOT_AUTHENTICATED, error.message)
            return
        except ChatError as error:
            self.send(error_frame(self.codec, None, error))
            self.close(CloseCode.TRY_LATER, '{"delay_ms":2000}')
            return
        except Exception:
            logger.exception("a hello failed")
            self.close(CloseCode.INTERNAL_ERROR, "chatd could not do this")
            return
        if not self.is_gone():
            self._begin(identified, hello, beginning)

    def _follow(self, identified: Identified, hello: Hello) -> None:
        """Hear of everything from here on, and keep it aside: what is read afterwards may have it already."""
        chat, actor = self.chat, identified.actor
        self.session = identified.session
        self._backlog = Backlog(chat.settings.connection_queue_bytes_max)
        self.actor = actor
        chat.hub.follow(self, actor.shop, stream_of(actor))
        chat.presence.hold(actor.shop, person_of(actor), self.name, active=hello.active, now=chat.loop.time())

    def _begin(self, identified: Identified, hello: Hello, beginning: Beginning) -> None:
        chat, actor, backlog = self.chat, identified.actor, self._backlog
        self.send(
            encode(
                self.codec,
                welcome_message(chat, actor, beginning, hello.resume, connection=self.name, token=identified.token),
            )
        )
        self._number = beginning.number
        frames = missed_frames(self.codec, actor, beginning)
        self._backlog = None
        for number, conversation, event in backlog.frames if backlog is not None else ():
            if number > self._number:
                self._number = number
                frames.append(own_frame(self.codec, actor, number, conversation, event))
        if frames:
            self.send(b"".join(frames))
        self._protocol.opened()
        self._takes_all = actor.conversation is None

    # ------------------------------------------------------------------ out: the hub's side

    def deliver(self, chunk: Chunk) -> None:
        if self._takes_all and chunk.first > self._number:
            self._number = chunk.last
            if self._out or self._paused or self._transport is None:
                self.send(chunk.data, chunk.count)
            else:
                # The hub has joined what goes out together, so it goes at once.
                self._transport.write(chunk.data)
        else:
            self._deliver_part(chunk)

    def _deliver_part(self, chunk: Chunk) -> None:
        """The rare cases: not welcomed yet, sent in part by the welcome, or follows one conversation only."""
        if self._backlog is not None:
            if not self._backlog.keep(chunk):
                self.cut_slow()
            return
        actor = self.actor
        # The store was ahead of the bus: the welcome had the first of these already.
        newer = [entry for entry in chunk.frames if entry[0] > self._number]
        if newer and actor is not None:
            self._number = chunk.last
            frames = [own_frame(self.codec, actor, *entry) for entry in newer]
            self.send(b"".join(frames), len(frames))

    def signal(self, frame: bytes, conversation: str | None) -> None:
        # What is true only now is not worth keeping for later: before the welcome, and behind a full transport, it
        # goes.
        if not self._paused and (self._takes_all or self._follows(conversation)):
            self.send(frame)

    def _follows(self, conversation: str | None) -> bool:
        """Whether what is of this conversation, or of none, is for this client now."""
        return self._backlog is None and self.actor is not None and conversation in (None, self.actor.conversation)


_WAYS: dict[type, Callable[[SocketProtocol, Any], None]] = {
    **dict.fromkeys(CUSTOMER_COMMANDS + STAFF_COMMANDS, SocketProtocol._carry_out),
    **dict.fromkeys(CUSTOMER_QUERIES + STAFF_QUERIES, SocketProtocol._ask),
    SetTyping: SocketProtocol._signal_typing,
    SetActive: SocketProtocol._set_active,
    Hello: SocketProtocol._greet,
    Reply: SocketProtocol._reply,
    Close: SocketProtocol._end,
}
"""What is done about each outcome of `ServerProtocol.receive`."""
