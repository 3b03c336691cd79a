"""The first thing that a connection meets: uvicorn's HTTP protocol, with the deadlines and bounds that it lacks.

uvicorn waits for ever for a connection that says nothing, for half a head and for a body that comes a byte a minute;
it takes heads of any size and any number of connections from one address. Here:

| what | bound | then |
|---|---|---|
| nothing | `handshake_timeout_seconds` from the connection | closed |
| half a head | the same; later ones from their first byte | 408, closed |
| a body | 1 kB/s over its whole time, looked at after 30 s | 408, closed |
| an answer that is not read | 1 kB/s, looked at after 30 s | cut |
| idle between two requests | uvicorn's `timeout_keep_alive` | closed |
| the head | 16 KiB, 100 fields, a URL of 8 KiB | 431, 414, closed |
| announced size of a body | `request_body_bytes_max` | 413, closed |
| connections of one address (IPv6: one /64) | `connections_per_address_max` | 429, closed |
| connections at all | what the limit of open files leaves | 503, closed |
| requests ahead of their answers (pipelining) | 8 | closed after the current answer |

What comes is looked at so many reads in a turn of the loop (`web.intake`); what waits for its turn is bounded, and the
deadlines above do not run meanwhile.

No bound is moved by a byte that arrives. There is no timer of its own: the wheel looks at each connection twice a
second.

A refused client is told why: the answer is written, our half is closed, and what still arrives is read and thrown
away for a moment. Closing at once with unread bytes would make the kernel send a reset, which destroys the answer on
its way.

With trusted proxies, connections belong to the proxies; then sockets are counted by the address that the proxies
report, and requests by `web.security.Guard`.

A request for a socket never becomes ASGI: `start_socket` has it judged, answers it, and hands the transport over.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, is_ssl

from chatd.web.addresses import client_address
from chatd.web.admission import Front, Place
from chatd.web.handshake import Refused
from chatd.web.security import Answer, host_refusal, within

HEAD_BYTES_MAX = 16_384
HEAD_FIELDS_MAX = 100
URL_BYTES_MAX = 8_192
PIPELINE_MAX = 8
BYTES_PER_SECOND_MIN = 1_000
LOOK_SECONDS = 0.5
LINGER_BYTES_MAX = 1_048_576


class Phase(Enum):
    IDLE = "nothing of a request has come"
    HEAD = "a head is coming"
    BODY = "a body is coming"
    ANSWERING = "the request is whole, its answer is not"
    LINGERING = "refused; what still comes is thrown away"
    GONE = "lost, or handed over to a socket"


class _Refusal(Exception):
    """Raised inside the parser's callbacks, so that it stops."""


class FrontProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=FrontProtocol)`. See the module's text."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # As in uvicorn, which makes a socket object for each address and asks it; a handshake needs the client's only.
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        peer = transport.get_extra_info("peername")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._front: Front = self.app_state["front"]
        self._phase = Phase.IDLE
        self._since = self.loop.time()
        self._requests = 0
        self._head_bytes = 0
        self._url_bytes = 0
        self._field_bytes = 0
        self._body_bytes = 0
        self._lingered_bytes = 0
        self._unread_since: float | None = None
        self._unread_most = 0
        self._stopped_by: Answer | None = None
        self._deaf = False  # nothing that still comes is looked at
        self._kept = b""  # what has come and waits for its turn
        self._upgrading = False  # the request that came last asks for a socket
        self._place: Place | None = None
        self._working: RequestResponseCycle | None = None
        # One normal form, so that an IPv4 address counts as itself on a dual-stack listener.
        address = client_address(self.client[0] if self.client else None, (), 0)
        place = self._front.admit(address)
        if isinstance(place, Answer):
            self._refuse(place)
        else:
            self._place = place
        if self._phase is not Phase.GONE:
            self._front.wheel.watch(self, self._since + self._look_seconds())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._phase is Phase.LINGERING:
            self._front.lingering -= 1
        self._phase = Phase.GONE
        if self._place is not None:
            self._place.leave()
        super().connection_lost(exc)

    # ------------------------------------------------------------------ bytes in

    def data_received(self, data: bytes) -> None:
        if self._kept:
            self._kept += data
            self.flow.pause_reading()  # it has had its say
        elif self._front.intake.admits():
            self._read(data)
        else:
            self._kept = data
            self._front.intake.put_off(self.read_on)

    def read_on(self) -> None:
        """The intake's side: it is this one's turn."""
        data, self._kept = self._kept, b""
        if self._phase is Phase.GONE:
            return
        try:
            self.flow.resume_reading()
            self._read(data)
        except Exception:
            # As the loop does where it calls itself: told, and the connection ends.
            self.logger.exception("a connection failed")
            self.transport.abort()

    def _read(self, data: bytes) -> None:
        if self._phase is Phase.LINGERING:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES_MAX:
                self.transport.abort()
            return
        if self._phase is Phase.GONE or self._deaf:
            return
        before = self._phase
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._stopped_by or Answer(400, "malformed_request", "this is not a request of HTTP/1.1"))
            return
        if self._phase is Phase.HEAD and before in (Phase.IDLE, Phase.HEAD):
            # A field that has no end yet reaches no callback, so what was fed is counted as well.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_head_too_large())

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINE_MAX:
            self._stop(Answer(429, "too_fast", f"at most {PIPELINE_MAX} requests may be sent ahead of their answers"))
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._upgrading = False
        self._phase = Phase.HEAD
        if self._requests:
            self._since = self.loop.time()
        self._requests += 1
        self._head_bytes = self._url_bytes = self._field_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url_bytes += len(url)
        if self._url_bytes > URL_BYTES_MAX:
            self._stop(Answer(414, "too_large", f"the URL is longer than {URL_BYTES_MAX:,} bytes"))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value) + 4
        if self._field_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEAD_FIELDS_MAX:
            self._stop(_head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._phase = Phase.BODY
        self._since = self.loop.time()
        most = self._front.settings.request_body_bytes_max
        for name, value in self.headers:
            if name == b"content-length" and not within(value, most):
                self._stop(
                    Answer(413, "too_large", f"the body is larger than {most:,} bytes", facts={"bytes_max": most})
                )
        self._upgrading = self.parser.should_upgrade() and self._should_upgrade()
        if not self._upgrading:
            self._make_scope()
            super().on_headers_complete()

    def _make_scope(self) -> None:
        """What ASGI is told of a request: not before it is known that it is none for a socket."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        if self.server is None:
            self.server = get_local_addr(self.transport)
            self.scheme = "https" if is_ssl(self.transport) else "http"
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that is in the scope

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if not self._upgrading:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._upgrading:
            super().on_message_complete()
        answered = not self._upgrading and self.cycle.response_complete
        self._phase = Phase.IDLE if answered else Phase.ANSWERING
        self._since = self.loop.time()

    def on_response_complete(self) -> None:
        """As in uvicorn, with the wheel instead of a timer for what is idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase is Phase.ANSWERING:
            self._phase = Phase.IDLE
            self._since = self.loop.time()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # uvicorn's `cycle` is the one whose request came last, which with pipelining is not the one at work.
        self._working = cycle
        super()._start_asgi_task(cycle, app)

    def _cycle_at_work(self) -> RequestResponseCycle | None:
        """The request that is being answered now."""
        working = self._working
        return working if working is not None and not working.response_complete else None

    # ------------------------------------------------------------------ refusing

    def _stop(self, answer: Answer) -> None:
        """Refuse from inside a callback of the parser."""
        self._stopped_by = answer
        raise _Refusal

    def _refuse(self, answer: Answer) -> None:
        """Say why and close, and listen no more. A request that came whole is answered first; one that is broken off
        never will be, and whoever waits for the rest of it hears that the client is gone."""
        self._deaf = True
        self.pipeline.clear()
        working = self._cycle_at_work()
        if working is not None and not (self._phase is Phase.BODY and working is self.cycle):
            working.keep_alive = False
            return
        if working is not None:
            told = working.response_started
            working.disconnected = working.response_complete = True
            working.message_event.set()
            if told:
                self.transport.abort()
                return
        self._say_and_close(self._front.bytes_of(answer))

    def _say_and_close(self, answer: bytes) -> None:
        if self._front.lingering >= self._front.lingering_max or not self.transport.can_write_eof():
            self.transport.write(answer)
            self.transport.close()
            return
        self._front.lingering += 1
        self._phase = Phase.LINGERING
        self._since = self.loop.time()
        self.flow.resume_reading()
        self.transport.write(answer)
        self.transport.write_eof()

    # ------------------------------------------------------------------ the wheel's side

    def _look_seconds(self) -> float:
        return min(LOOK_SECONDS, self._front.settings.handshake_timeout_seconds)

    def check(self, now: float) -> float | None:
        """Look whether the client keeps its side of the bargain."""
        if self._phase is Phase.GONE:
            return None
        if self._unread_for_too_long(now):
            self.transport.abort()
            return None
        elapsed = now - self._since
        if self._phase is Phase.LINGERING:
            if elapsed > self._front.linger_seconds:
                self.transport.abort()
                return None
        elif not self.transport.is_closing():
            self._check_reading(now, elapsed)
        return now + self._look_seconds()

    def _check_reading(self, now: float, elapsed: float) -> None:
        if self.flow.read_paused or self._kept:
            self._since = now  # it is us who keep the client waiting
        elif self._phase is Phase.HEAD:
            if elapsed > self._front.settings.handshake_timeout_seconds:
                self._refuse(Answer(408, "temporary", "the head of the request took too long", True))
        elif self._phase is Phase.IDLE:
            # Without a word: an answer to nothing would be taken for the answer to what is sent next.
            fresh = not self._requests
            if elapsed > (self._front.settings.handshake_timeout_seconds if fresh else self.timeout_keep_alive):
                self.transport.close()
        elif self._phase is Phase.BODY and self._body_is_slow(elapsed):
            self._refuse(Answer(408, "temporary", "the body of the request came too slowly", True))

    def _body_is_slow(self, elapsed: float) -> bool:
        return elapsed > self._front.slow_after_seconds and self._body_bytes < elapsed * BYTES_PER_SECOND_MIN

    def _unread_for_too_long(self, now: float) -> bool:
        """Whether the client leaves our answer in our memory."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            self._unread_since = None
            self._unread_most = 0
            return False
        if self._unread_since is None:
            self._unread_since = now
        self._unread_most = max(self._unread_most, unread)
        return now - self._unread_since > self._front.slow_after_seconds + self._unread_most / BYTES_PER_SECOND_MIN

    # ------------------------------------------------------------------ sockets

    def _should_upgrade_to_ws(self) -> bool:
        return True

    def _upgrade(self, rest: bytes) -> None:
        if self._cycle_at_work() is not None:
            # Either another request is still being answered here, or this one asked for a protocol that is not spoken
            # (RFC 9110 section 7.8: then it is answered as if it had not). What follows on the connection is unclear.
            self._refuse(Answer(400, "malformed_request", "this connection cannot be upgraded"))
        else:
            self.start_socket(rest)

    def start_socket(self, rest: bytes) -> None:
        """Judge a request for a socket; refuse it, or hand the transport over together with the place in the counts.
        `rest` came after the head."""
        front, headers = self._front, self.headers
        refusal = host_refusal(headers, front.hosts)
        path = _path_of(self.url)
        if refusal is None and (
            path is None or self.parser.get_method() != b"GET" or self.parser.get_http_version() == "1.0"
        ):
            refusal = Answer(400, "malformed_request", "a socket is asked for by GET, a path and HTTP/1.1")
        assert self._place is not None
        if refusal is None and front.settings.trusted_proxies:
            client = client_address(self.client[0] if self.client else None, headers, front.settings.trusted_proxies)
            if not self._place.move(client):
                refusal = front.too_many()
        if refusal is not None:
            self._refuse(refusal)
            return
        assert path is not None
        outcome = front.sockets.answer(path, headers)
        if isinstance(outcome, Refused):
            self._say_and_close(outcome.response)
            return
        self._phase = Phase.GONE
        self.connections.discard(self)
        protocol = front.sockets.open(outcome, self._place, self._place.address)
        self.flow.resume_reading()
        self.transport.write(outcome.response)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self.flow.write_paused:
            # An earlier answer is still unread. The transport has said so to us, and says it only once.
            protocol.pause_writing()
        if rest:
            protocol.data_received(rest)
        # An open socket keeps nothing of its handshake: the parser and this object hold each other, and the wheel holds
        # this object until it looks at it, when a herd is in already.
        self.__dict__.clear()
        self._phase = Phase.GONE


def _path_of(url: bytes) -> str | None:
    """The path that a request is for, decoded once; None when it has none."""
    try:
        path: bytes | None = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        return None
    return None if path is None else unquote(path.decode("latin-1"))


def _head_too_large() -> Answer:
    return Answer(
        431,
        "too_large",
        f"the head of the request is larger than {HEAD_BYTES_MAX:,} bytes or {HEAD_FIELDS_MAX} fields",
        facts={"bytes_max": HEAD_BYTES_MAX, "fields_max": HEAD_FIELDS_MAX},
    )
