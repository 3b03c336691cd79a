"""What a Redis answers on one connection, a read at a time.

redis-py connects, encrypts and logs in. Its sending makes a task, and its reading takes several waits and a timer for
each answer, which on a busy bus is most of a node's processor time; here what is said is written at once, and one wait
takes all that has arrived. RESP2 only (redis.io/docs/reference/protocol-spec): pub/sub needs no more. What a busy bus
brings by the thousand, published messages and the counts that answer a PUBLISH, is found by its shape; everything else
is parsed step by step.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, MovedError, ResponseError

READ_BYTES = 262_144
ANSWER_BYTES_MAX = 64 * 2**20
"""More in one answer is none that chatd has asked for."""

_ERROR, _SIMPLE, _INTEGER, _BULK, _ARRAY = b"-+:$*"

_MESSAGE = re.compile(rb"\*3\r\n\$\d\r\ns?message\r\n\$\d{1,5}\r\n([^\r]*)\r\n\$(\d{1,9})\r\n").match
"""A published message up to its payload: the channel's name, in which nobody here has a line break, and the length of
the payload."""

_COUNTS = re.compile(rb"(?::\d{1,9}\r\n){1,1000}").match


class Answers:
    """Of a connection that redis-py has made, and that is read by nobody else from now on."""

    def __init__(self, connection: AbstractConnection) -> None:
        reader: asyncio.StreamReader | None = connection._reader
        writer: asyncio.StreamWriter | None = connection._writer
        assert reader is not None, "it is connected"
        assert writer is not None
        self._reader = reader
        self._writer = writer
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._patience = (0.0, 0.0)  # while somebody waits: until when (the loop's time), and for how many seconds
        self._watch: asyncio.TimerHandle | None = None

    def ask(self, commands: bytes) -> None:
        """Send commands, each of which has an answer that is to be read before more is sent: so what waits here, when
        Redis does not take it, is never more than that."""
        self._writer.write(commands)

    async def read(self, seconds: float) -> list[Any]:
        """The next answers, at least one. What Redis refused is among them, as an exception that is not raised. Raises
        `TimeoutError` when there is none in time, after which the connection is of no more use, `ConnectionError` at
        the end, `ResponseError` for what is no answer."""
        self._patience = (self._loop.time() + seconds, seconds)
        if self._watch is None:
            self._look()
        try:
            while True:
                data = await self._reader.read(READ_BYTES)
                if not data:
                    raise ConnectionError("Redis has hung up")
                answers, self._rest = parse_answers(self._rest + data if self._rest else data)
                if answers:
                    return answers
                if len(self._rest) > ANSWER_BYTES_MAX:
                    raise ResponseError("Redis answers with more than chatd has asked for")
        finally:
            self._patience = (0.0, 0.0)

    def _look(self) -> None:
        """One timer for many reads: it looks whether one lasts too long, and goes when nobody reads."""
        until, seconds = self._patience
        self._watch = None
        if not until:
            return
        if self._loop.time() < until:
            self._watch = self._loop.call_at(until, self._look)
        else:
            self._reader.set_exception(TimeoutError(f"Redis has not answered for {seconds:g} s"))


def parse_answers(data: bytes, own: bytes = b"") -> tuple[list[Any], bytes]:
    """All whole answers, but for published messages that begin with `own`, and what is left. A published message is a
    tuple of its channel and payload, and nothing else is one. Raises `ResponseError` for what is no answer."""
    answers: list[Any] = []
    at = 0
    size = len(data)
    try:
        while at < size:
            if (message := _MESSAGE(data, at)) is not None:
                channel, length = message.groups()
                after = message.end()
                stop = after + int(length)
                if stop + 2 > size:
                    break
                if not (own and data.startswith(own, after, stop)):
                    answers.append((channel, data[after:stop]))
                at = stop + 2
            elif (counts := _COUNTS(data, at)) is not None:
                answers += map(int, counts[0].replace(b":", b"").split())
                at = counts.end()
            elif (found := _parse(data, at)) is not None:
                answer, at = found
                answers.append(answer)
            else:
                break
    except (ValueError, IndexError, RecursionError):
        raise ResponseError("what came from Redis is not of its protocol") from None
    return answers, data[at:]


def _parse(data: bytes, at: int) -> tuple[Any, int] | None:
    """The answer that begins here and where it ends; None when it is not whole."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, after = data[at], end + 2
    if kind == _BULK:
        size = int(data[at + 1 : end])
        if size < 0:
            return None, after
        stop = after + size
        return (data[after:stop], stop + 2) if len(data) >= stop + 2 else None
    if kind == _INTEGER:
        return int(data[at + 1 : end]), after
    if kind == _ARRAY:
        items: list[Any] = []
        for _ in range(int(data[at + 1 : end])):
            found = _parse(data, after)
            if found is None:
                return None
            item, after = found
            items.append(item)
        return items, after
    if kind == _SIMPLE:
        return data[at + 1 : end], after
    if kind == _ERROR:
        return _error(data[at + 1 : end].decode(errors="replace")), after
    raise ValueError


def _error(text: str) -> ResponseError:
    code, _, rest = text.partition(" ")
    if code == "MOVED":
        return MovedError(rest)
    return ClusterDownError(text) if code == "CLUSTERDOWN" else ResponseError(text)


def packed(*words: bytes) -> bytes:
    """A command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def publish_head(verb: bytes, channel: bytes) -> bytes:
    """What all that is said on a channel has in common: a command of three words but for the last."""
    return b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(verb), verb, len(channel), channel)


def packed_publish(head: bytes, payload: bytes) -> bytes:
    """The same as `packed` of the three words, in one step."""
    return b"%b$%d\r\n%b\r\n" % (head, len(payload), payload)
