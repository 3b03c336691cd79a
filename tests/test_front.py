"""The first thing a connection meets, tried with plain sockets against a real server: who dawdles is told and closed,
who comes in numbers is told to wait, and nobody else notices."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.door import Client, Server, serving
from tests.fronts import LOOPS, UPGRADE, House, open_house


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for the tests that leave nothing behind."""
    with open_house() as (_, opened):
        yield opened


# ---------------------------------------------------------------- deadlines


@LOOPS
def test_whoever_dawdles_over_the_head_is_told_and_closed_and_others_are_served(loop: str) -> None:
    with open_house(loop) as (_, server):
        silent, slow, dripping = server.connect(), server.connect(), server.connect()
        slow.say("GET / HTTP/1.1\r\nHost: localhost\r\n")
        dripping.say("GET /")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):  # byte after byte moves no deadline
                dripping.say("x")
                time.sleep(0.01)
                if dripping.seconds() > 0.2:
                    break
        with server.connect() as other:
            assert other.get().answer().status == 200
        assert silent.everything() == b""
        assert slow.everything().startswith(b"HTTP/1.1 408 ")
        assert dripping.everything().startswith(b"HTTP/1.1 408 ")
        for client in (silent, slow, dripping):
            assert client.seconds() < 4
            client.close()


def test_bytes_that_go_on_and_on_do_not_save_a_slow_head(server: Server) -> None:
    with server.connect() as client:
        client.say("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        with contextlib.suppress(ConnectionError):
            while client.seconds() < 8:
                client.say("x")
                time.sleep(0.02)
        assert client.seconds() < 4, "it was let go on"


def test_waiting_before_the_first_byte_wins_no_time_for_the_head() -> None:
    with open_house(handshake_timeout_seconds=1.5) as (_, server), server.connect() as client:
        time.sleep(1.4)
        client.say("GET / HTTP/1.1\r\n")
        assert client.everything().startswith(b"HTTP/1.1 408 ")
        assert client.seconds() < 2.7


@LOOPS
def test_a_slow_body_is_ended_and_whoever_waits_for_it_hears_so(loop: str) -> None:
    with open_house(loop) as (house, server), server.connect() as client:
        client.say("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        assert client.everything().startswith(b"HTTP/1.1 408 ")
        assert client.seconds() < 4
        assert house.settled(0)
        assert house.gone == ["ClientDisconnect"]


def test_a_body_that_comes_steadily_is_taken() -> None:
    with open_house(slow_after_seconds=0.3) as (_, server), server.connect() as client:
        client.say("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n")
        for _ in range(10):
            client.say("x" * 200)
            time.sleep(0.08)
        assert client.answer().body == b"x" * 2000


def test_who_asks_and_does_not_read_is_cut() -> None:
    with open_house() as (house, server), server.connect(receive_bytes=4_096) as client:
        house.front.slow_after_seconds = -8_100  # type: ignore[union-attr]  # 8 MB at 1 kB/s would take that long
        client.get("/large")
        assert house.settled(1)
        assert house.settled(0)


def test_a_connection_that_waits_between_requests_is_closed_without_a_word() -> None:
    house = House()
    with serving(house.app, timeout_keep_alive=0.5) as server, server.connect() as client:
        assert client.get().answer().status == 200
        assert client.get().answer().status == 200
        assert client.everything() == b""
        assert client.seconds() < 4


def test_a_connection_may_be_used_again_after_the_head_deadline_has_passed(server: Server) -> None:
    with server.connect() as client:
        for _ in range(4):
            assert client.get().answer().status == 200
            time.sleep(0.3)
        assert client.seconds() > 1


# ---------------------------------------------------------------- sizes and shapes


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /" + "a" * 9_000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "a" * 17_000 + "\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "a" * 40_000, 431),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n" + "X: 1\r\n" * 100 + "\r\n", 431),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2001\r\n\r\n", 413),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + "9" * 18 + "\r\n\r\n", 413),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + "9" * 5_000 + "\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", 415),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET \xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: LOCALHOST:1234\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: [::1]:1234\r\n\r\n", 200),
    ],
)
def test_what_is_too_large_or_no_request_gets_its_answer(server: Server, request_: str, status: int) -> None:
    with server.connect() as client:
        answered = client.say(request_).answer()
        assert answered.status == status
        assert answered.fields["x-content-type-options"] == "nosniff"
        if status != 200:
            assert b"Traceback" not in answered.body
            assert answered.fields["content-type"] == "application/json"
    with server.connect() as other:
        assert other.get().answer().status == 200


def test_a_chunked_body_without_end_is_stopped(server: Server) -> None:
    with server.connect() as client:
        client.say("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.say("320\r\n" + "x" * 800 + "\r\n")
        answered = client.answer()
        assert answered.status == 413
        assert answered.fields["connection"] == "close"


def test_a_refusal_reaches_a_client_that_is_still_sending(server: Server) -> None:
    """Without lingering, the kernel answers the unread bytes with a reset that destroys the refusal."""
    with server.connect() as client:
        client.say("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000\r\n\r\n")
        for _ in range(8):
            client.say("x" * 50_000)
            time.sleep(0.005)
        assert client.answer().status == 413


def test_requests_ahead_of_their_answers_are_answered_in_order_and_bounded() -> None:
    with open_house() as (house, server):
        with server.connect() as client:
            for number in range(3):
                client.say(f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n{number}")
            assert [client.answer().body for _ in range(3)] == [b"0", b"1", b"2"]
        with server.connect() as client:
            client.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_000)
            assert 1 <= client.everything().count(b"HTTP/1.1 200") <= 20
        assert house.settled(0)


def test_half_a_request_after_a_whole_one_does_not_spoil_its_answer(server: Server) -> None:
    with server.connect() as client:
        client.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\x01garbage")
        data = client.everything()
        assert data.startswith(b"HTTP/1.1 200 ")
        assert data.count(b"HTTP/1.1") == 1


# ---------------------------------------------------------------- numbers


@LOOPS
def test_one_address_gets_so_many_connections_and_gets_them_back(loop: str) -> None:
    with open_house(loop, connections_per_address_max=3) as (house, server):
        held = [server.connect().get() for _ in range(3)]
        assert [client.answer().status for client in held] == [200] * 3
        with server.connect() as refused:
            answered = refused.get().answer()
            assert answered.status == 429
            assert answered.fields["retry-after"] == "5"
            assert refused.everything() == b""
        # Rotating what the client says about itself changes nothing: no proxy is trusted.
        for number in range(3):
            with server.connect() as refused:
                assert refused.get("/", f"X-Forwarded-For: 203.0.113.{number}").answer().status == 429
        assert [client.get().answer().status for client in held] == [200] * 3, "those who are in stay in"
        held[0].close()
        assert house.settled(2)
        with server.connect() as client:
            assert client.get().answer().status == 200
        for client in held:
            client.close()


def test_a_flood_of_refused_connections_is_cut_short_and_leaves_nothing() -> None:
    with open_house(connections_per_address_max=1) as (house, server):
        held = server.connect()
        assert held.get().answer().status == 200
        flood = [server.connect() for _ in range(150)]
        assert held.get().answer().status == 200
        assert house.front is not None and house.front.lingering <= 32
        for client in flood:
            client.everything()
            assert client.seconds() < 5
            client.close()
        held.close()
        assert house.settled(0)
        assert house.front.lingering == 0


def test_there_are_no_more_connections_than_fit() -> None:
    with open_house(connections_max=2) as (house, server):
        first, second = server.connect(), server.connect()
        assert first.get().answer().status == second.get().answer().status == 200
        with server.connect() as third:
            assert third.get().answer().status == 503
        second.close()
        assert house.settled(1)
        with server.connect() as third:
            assert third.get().answer().status == 200
        first.close()


def test_behind_a_proxy_people_are_counted_and_not_the_proxy() -> None:
    with open_house(connections_per_address_max=2, trusted_proxies=1) as (_, server):

        def socket_from(forwarded: str) -> Client:
            return server.connect().get("/v1/socket", *UPGRADE, f"X-Forwarded-For: {forwarded}")

        many = [server.connect() for _ in range(10)]  # the proxy's own connections
        assert [client.get("/", "X-Forwarded-For: 192.0.2.1").answer().status for client in many] == [200] * 10
        mine = [socket_from("192.0.2.7") for _ in range(2)]
        assert [client.answer().status for client in mine] == [101, 101]
        # The client's own words stand left of the proxy's, and change nothing.
        for spoofed in ("192.0.2.7", "203.0.113.5, 192.0.2.7", "evil, 10.0.0.1, 192.0.2.7"):
            with socket_from(spoofed) as refused:
                assert refused.answer().status == 429
        with socket_from("192.0.2.8") as other:
            assert other.answer().status == 101
        mine[0].close()
        deadline = time.monotonic() + 5
        status = 0
        while status != 101 and time.monotonic() < deadline:
            again = socket_from("192.0.2.7")
            status = again.answer().status
            again.close()
        assert status == 101
        for client in (*many, *mine):
            client.close()


# ---------------------------------------------------------------- sockets


@LOOPS
def test_a_socket_takes_the_connection_over_and_gives_its_place_back(loop: str) -> None:
    with open_house(loop, connections_per_address_max=2) as (house, server):
        with server.connect() as client:
            answered = client.get("/v1/socket", *UPGRADE).answer()
            assert answered.status == 101
            assert answered.fields["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            time.sleep(1.2)  # no deadline of HTTP holds any more
            client.say(b"\x81\x80hello")
            assert client.receive(7) == b"\x81\x80hello"
            assert house.connections == 1
        assert house.settled(0)


def test_what_a_client_sends_right_behind_the_handshake_is_not_lost(server: Server) -> None:
    with server.connect() as client:
        lines = "".join(f"{field}\r\n" for field in UPGRADE)
        client.say(f"GET /v1/socket HTTP/1.1\r\nHost: localhost\r\n{lines}\r\nfirst frame")
        assert client.answer().status == 101
        assert client.receive(11) == b"first frame"


@LOOPS
def test_a_socket_behind_an_unread_answer_knows_that_it_must_wait(loop: str) -> None:
    # The transport says only once that it is full, and has said it to the front. A socket that does not know would
    # write into memory without a bound.
    with open_house(loop) as (house, server), server.connect(receive_bytes=4_096) as client:
        client.get("/large")
        time.sleep(0.3)
        client.get("/v1/socket", *UPGRADE)
        deadline = time.monotonic() + 10
        while not house.sockets.opened and time.monotonic() < deadline:
            time.sleep(0.005)
        (socket,) = house.sockets.opened
        assert socket.paused
        assert client.answer().status == 200
        assert client.answer().status == 101
        client.say(b"hello")
        assert client.receive(5) == b"hello"
        assert not socket.paused


@pytest.mark.parametrize(
    ("path", "fields", "host", "status"),
    [
        ("/v1/socket", (*UPGRADE[:-1], "Origin: http://evil.example"), "localhost", 403),
        ("/v1/socket", (*UPGRADE[:-1], "Origin: null"), "localhost", 403),
        ("/v1/socket", UPGRADE[:-1], "localhost", 403),
        ("/v1/socket", (*UPGRADE[:-1], "Origin: http://localhost.evil.example"), "localhost", 403),
        ("/v1/socket", (*UPGRADE[:-1], "Origin: http://localhost`"), "localhost", 403),
        ("/v1/socket", (*UPGRADE[:-1], "Origin: http://LOCALHOST"), "localhost", 403),
        ("/v1/socket", (*UPGRADE[:-1], "Origin: http://localhost:81"), "localhost", 403),
        ("/v1/socket/nobody", UPGRADE, "localhost", 404),
        ("/elsewhere", UPGRADE, "localhost", 404),
        ("/v1/socket", UPGRADE, "evil.example", 421),
        ("http://localhost", UPGRADE, "localhost", 404),
    ],
)
def test_a_socket_that_may_not_be_is_refused_in_http(
    server: Server, path: str, fields: tuple[str, ...], host: str, status: int
) -> None:
    with server.connect() as client:
        answered = client.get(path, *fields, host=host).answer()
        assert answered.status in (status, 400 if path.startswith("http") else status)
        assert answered.fields["connection"] == "close"


def test_only_get_opens_a_socket() -> None:
    with open_house() as (house, server), server.connect() as client:
        lines = "".join(f"{field}\r\n" for field in UPGRADE)
        client.say(f"POST /v1/socket HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: 0\r\n\r\n")
        assert client.answer().status == 400
        assert house.sockets.asked == []


def test_another_upgrade_is_answered_as_if_it_had_not_been_asked_for(server: Server) -> None:
    with server.connect() as client:
        client.get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        assert client.answer().status == 200
        assert client.everything() == b""
