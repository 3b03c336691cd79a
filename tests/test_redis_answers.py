"""The answers of Redis, however the network cuts them: whole ones in order, the rest kept, nonsense refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ClusterDownError, MovedError, ResponseError

from chatd.live.redis_answers import packed, packed_publish, parse_answers, publish_head

COUNTS = st.lists(st.integers(0, 9), min_size=3, max_size=5)
MESSAGES = st.tuples(
    st.sampled_from([b"message", b"smessage", b"xmessage"]),
    st.text(max_size=12).map(lambda name: name.replace("\r", "").encode()),
    st.binary(max_size=50),
)
ANSWERS = st.lists(
    st.one_of(
        st.recursive(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=50)),
            lambda inner: st.lists(inner, max_size=4),
            max_leaves=10,
        ).map(lambda answer: [answer]),
        MESSAGES.map(lambda message: [list(message)]),
        COUNTS,
    ),
    max_size=6,
).map(lambda groups: [answer for group in groups for answer in group])


def written(answer: Any) -> bytes:
    if answer is None:
        return b"$-1\r\n"
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    if isinstance(answer, bytes):
        return b"$%d\r\n%b\r\n" % (len(answer), answer)
    return b"*%d\r\n" % len(answer) + b"".join(map(written, answer))


def heard(answer: Any) -> Any:
    """What was said is told from all else that comes."""
    said = isinstance(answer, list) and len(answer) == 3 and answer[0] in (b"message", b"smessage")
    return (answer[1], answer[2]) if said else answer


@settings(deadline=None)
@given(ANSWERS, st.lists(st.integers(0, 400), max_size=10))
def test_answers_are_read_whole_wherever_they_were_cut(answers: list[Any], cuts: list[int]) -> None:
    data = b"".join(map(written, answers))
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    rest, found = b"", []
    for start, end in itertools.pairwise(places):
        some, rest = parse_answers(rest + data[start:end])
        found += some
    assert found == [heard(answer) for answer in answers]
    assert rest == b""


def test_what_this_node_has_said_itself_is_passed_over() -> None:
    def said(payload: bytes) -> bytes:
        return written([b"message", b"shop", payload])

    data = said(b"me: one") + said(b"you: two") + b":1\r\n" + said(b"me: three") + said(b"m")
    assert parse_answers(data, b"me: ") == ([(b"shop", b"you: two"), 1, (b"shop", b"m")], b"")
    assert len(parse_answers(data)[0]) == 5


def test_a_refusal_is_an_answer_like_others() -> None:
    [ok, moved, down, other], rest = parse_answers(
        b"+OK\r\n-MOVED 3999 127.0.0.1:6381\r\n-CLUSTERDOWN Hash slot not served\r\n-ERR unknown command\r\n:"
    )
    assert ok == b"OK"
    assert isinstance(moved, MovedError)
    assert (moved.slot_id, moved.host, moved.port) == (3_999, "127.0.0.1", 6_381)
    assert isinstance(down, ClusterDownError)
    assert isinstance(other, ResponseError)
    assert str(other) == "ERR unknown command"
    assert rest == b":"


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"*1\r\n?\r\n", b"\r\n", b":1.5\r\n"])
def test_what_is_no_answer_of_redis_is_refused(nonsense: bytes) -> None:
    with pytest.raises(ResponseError):
        parse_answers(nonsense)


def test_a_command_is_packed_as_redis_reads_it() -> None:
    words = (b"PUBLISH", "tea å".encode(), b"\r\n\0")
    assert parse_answers(packed(*words))[0] == [list(words)]
    assert packed_publish(publish_head(*words[:2]), words[2]) == packed(*words)
