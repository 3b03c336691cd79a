"""The floor: a relay that reads, unmasks and sends, and does nothing else. No checks, no limits, no tasks: not how
anybody should write a server, but what every server pays before it does anything of its own.
`python -m load.peers.servers.floor_relay`
"""

from __future__ import annotations

import select
import socket

from chatd.wire.websocket import CLOSE, TEXT, accept_key, apply_mask, frame

BACKLOG = 2_048
READ_BYTES = 65_536


class Peer:
    """One connection: `rest` is what of it is not a whole frame yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.room: list[Peer] | None = None  # None before the handshake
        self.rest = b""


def shake_hands(request: bytes) -> tuple[str, bytes]:
    """The path that was asked for, and the answer."""
    lines = request.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    key = headers["sec-websocket-key"]
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return lines[0].split()[1], answer + accept_key(key.encode()) + b"\r\n\r\n"


def relayed(data: bytes) -> tuple[bytes, bytes, bool]:
    """The text frames in it as they are sent on, what is left over, and whether the peer says goodbye."""
    out: list[bytes] = []
    at = 0
    while len(data) - at >= 6:
        length, head = data[at + 1] & 0x7F, at + 2
        if length == 126:
            length, head = int.from_bytes(data[head : head + 2], "big"), head + 2
        start = head + 4
        if len(data) - start < length:
            break
        if data[at] & 0x0F == CLOSE:
            return b"".join(out), b"", True
        if data[at] & 0x0F == TEXT:
            out.append(frame(TEXT, apply_mask(data[start : start + length], data[head:start])))
        at = start + length
    return b"".join(out), data[at:], False


def serve() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(f"listens on {listener.getsockname()[1]}", flush=True)
    rooms: dict[str, list[Peer]] = {}
    peers: dict[int, Peer] = {}
    ready = select.epoll()
    ready.register(listener, select.EPOLLIN)
    while True:
        for number, _ in ready.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(connection, select.EPOLLIN)
                peers[connection.fileno()] = Peer(connection)
                continue
            peer = peers[number]
            data = peer.rest + peer.connection.recv(READ_BYTES)
            is_over = data == peer.rest
            if peer.room is not None:
                text, peer.rest, says_goodbye = relayed(data)
                if text:
                    for other in peer.room:
                        if other is not peer:
                            other.connection.sendall(text)
                is_over = is_over or says_goodbye
            elif data.endswith(b"\r\n\r\n"):
                path, answer = shake_hands(data)
                peer.room = rooms.setdefault(path, [])
                peer.room.append(peer)
                peer.rest = b""
                peer.connection.sendall(answer)
            else:
                peer.rest = data
            if is_over:
                if peer.room is not None:
                    peer.room.remove(peer)
                del peers[number]
                ready.unregister(peer.connection)
                peer.connection.close()


if __name__ == "__main__":
    serve()
