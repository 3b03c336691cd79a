"""Presence over several nodes: every node knows of everybody, and is asked without waiting for anybody.

Each node decides about its own people as a single process does (`MemoryPresence`, with its graces). Somebody is online
while any node says so, which is why walking from node to node does not flicker: the old node's grace has not run out
when the new one has them. What travels over Redis (`presence_replica`):

* a diff: who came and who went, gathered for a moment, so that who comes and goes within it is not told at all;
* a beat: one node's lease on all of its people, with the number of its last diff. A node that is not heard for
  `LEASE_SECONDS` takes its people along in one step;
* a goodbye: the same, said in time, with a moment for its people to turn up elsewhere;
* a question and a state: whoever sees from the numbers that something is missing, or meets a node for the first time,
  asks for all of that node's people.

Nothing is stored in Redis, so nothing there can be lost, flushed, left behind or out of date. A node's name is new at
each start: it is the generation of its entries, and those of an earlier life never mix with those of a later one.

Of the nodes that see a change one writes it down: the one where it happened; for a node that is gone, the first of the
others by name. A node that was only taken for dead hears so when it is back, and writes down that its people are there.
While this node is cut off, others' people leave its view when their lease is over, but that they went is not written
down, for it is not known. What was written down wrongly all the same (by a node that took another for dead, or did not
know that somebody was elsewhere, and died before it could hear so) is found by comparing what is written with who is
there (`web.upkeep.settle_presence`). Time is the loop's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

import msgspec

from chatd.live.presence import Change, MemoryPresence
from chatd.live.presence_replica import (
    Ask,
    Beat,
    Diff,
    Goodbye,
    Place,
    Replica,
    Said,
    State,
    by_shop,
    in_parts,
    places,
    states_of,
)
from chatd.live.redis_link import Link, Note, Owns

BEAT_SECONDS = 2.0
LEASE_SECONDS = 10.0
GATHER_SECONDS = 0.1
ASK_AGAIN_SECONDS = 1.0
FORGET_GOODBYE_SECONDS = 60.0
FORGET_BURIED_SECONDS = 600.0
IN_DOUBT_MAX = 10_000
CROSSING_SECONDS = LEASE_SECONDS + 5.0
"""How late the news may be that somebody came elsewhere at the moment when they left here."""

RECORDS_AT_ONCE = 200
"""A node that was taken for dead writes down again who is there, this many at each `expire`."""

EVERYBODY = "presence"
Kind = Literal["came", "left", "yielded"]
Key = TypeVar("Key")

logger = logging.getLogger("chatd.presence")


class RedisPresence:
    """See the module's text. `changed` is called at once when somebody comes or goes; it must not call back."""

    def __init__(
        self,
        link: Link,
        changed: Callable[[Change], None],
        *,
        gone_grace_seconds: float,
        hidden_grace_seconds: float,
    ) -> None:
        self._link = link
        self._changed = changed
        self._local = MemoryPresence(
            self._change_here, gone_grace_seconds=gone_grace_seconds, hidden_grace_seconds=hidden_grace_seconds
        )
        self._loop = asyncio.get_running_loop()
        # How many nodes say that somebody is online. Asked on the writer's thread, too: two look-ups, nothing walked.
        self._view: dict[str, dict[str, int]] = {}
        self._own: set[Place] = set()
        self._yielded: set[Place] = set()  # let go here while they were on another node
        self._nodes: dict[str, Replica] = {}
        self._gone: dict[str, float] = {}  # who said goodbye, and until when late words of theirs may arrive
        self._buried: dict[str, float] = {}  # who was taken for dead, and until when it may turn up again
        self._to_record: deque[Place] = deque()
        # Written down here as gone, and until when it may turn out that another node had them at that moment:
        self._in_doubt: dict[Place, float] = {}
        self._well_at = self._loop.time()
        # What is to be said:
        self._number = 0
        self._pending: dict[Place, Kind] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._diff_due = False
        self._beat_at = 0.0
        self._beat_due = True
        self._asking: dict[str, Ask] = {}
        self._answering: dict[str, None] = {}
        self._goodbye: Goodbye | None = None
        self._left = False
        self._decoder = msgspec.msgpack.Decoder(Said)
        self._encoder = msgspec.msgpack.Encoder()
        link.attach(self)
        self._everybody = link.everywhere(EVERYBODY)
        for channel in self._everybody:
            link.subscribe(channel, self._hear, self._begin)
        link.subscribe(_channel(link.node), self._hear)

    # ------------------------------------------------------------------ the contract (`live.presence.Presence`)

    def hold(self, shop: str, person: str, connection: str, *, active: bool, now: float) -> None:
        self._local.hold(shop, person, connection, active=active, now=now)

    def release(self, shop: str, person: str, connection: str, *, now: float) -> None:
        self._local.release(shop, person, connection, now=now)

    def is_online(self, shop: str, person: str) -> bool:
        people = self._view.get(shop)
        return people is not None and person in people

    def online(self, shop: str) -> list[str]:
        return list(self._view.get(shop, ()))

    def here(self) -> list[Place]:
        return list(self._own)

    def expire(self, now: float) -> bool:
        has_more = self._local.expire(now)
        self._look_at_line(now)
        self._end_leases(now)
        for _ in range(min(RECORDS_AT_ONCE, len(self._to_record))):
            place = self._to_record.popleft()
            if place in self._own:
                self._changed(Change(*place, True))
        if now - self._beat_at >= BEAT_SECONDS:
            self._beat_at = now
            self._beat_due = True
            self._link.wake()
        return has_more

    def knows_all(self) -> bool:
        since = self._link.well_since
        return since is not None and self._loop.time() - since > LEASE_SECONDS

    def is_split(self) -> bool:
        return bool(self._buried) or len(self._heard(self._loop.time())) < sum(
            node.ends_at is None for node in self._nodes.values()
        )

    def say_goodbye(self, grace_seconds: float) -> None:
        self._flush()
        self._goodbye = Goodbye(self._link.node, grace_seconds)
        self._link.wake()

    # ------------------------------------------------------------------ this node's own people

    def _change_here(self, change: Change) -> None:
        place = (change.shop, change.person)
        kind: Kind
        if change.online:
            kind = "came"
            self._own.add(place)
            self._yielded.discard(place)
            self._in_doubt.pop(place, None)
            self._count(place, 1)
        else:
            # Asked of the nodes and not of the view: cut off, this node sees nobody else's people.
            kind = "yielded" if any(place in node.people for node in self._nodes.values()) else "left"
            self._own.discard(place)
            if kind == "yielded":
                self._yielded.add(place)
            self._count(place, -1, record=kind == "left")
        if self._pending.pop(place, None) is None:
            self._pending[place] = kind
        if self._gathering is None and not self._left:
            self._gathering = self._loop.call_later(GATHER_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        self._diff_due = True
        self._link.wake()

    # ------------------------------------------------------------------ the view

    def _count(self, place: Place, step: int, *, record: bool = True) -> None:
        """One node more, or less, says that somebody is online."""
        shop, person = place
        people = self._view.setdefault(shop, {})
        before = people.get(person, 0)
        if before + step > 0:
            people[person] = before + step
        else:
            people.pop(person, None)
            self._yielded.discard(place)
            if not people:
                del self._view[shop]
        if (before > 0) != (before + step > 0):
            self._tell(place, step > 0, record)

    def _tell(self, place: Place, online: bool, record: bool) -> None:
        if record and not online and len(self._in_doubt) < IN_DOUBT_MAX:
            seconds = CROSSING_SECONDS if self.knows_all() else FORGET_BURIED_SECONDS
            self._in_doubt[place] = self._loop.time() + seconds
        self._changed(Change(*place, online, record))

    def _add(self, node: Replica, came: Iterable[Place]) -> None:
        for place in came:
            if place not in node.people:
                node.people.add(place)
                in_doubt = self._in_doubt.pop(place, 0.0) > self._loop.time()
                if node.seen:
                    self._count(place, 1, record=in_doubt)

    def _take_away(self, node: Replica, left: Iterable[Place], *, yielded: bool = False) -> None:
        """Those who left are written down where they were. But two nodes that let somebody go at the same moment each
        saw them on the other: then whoever hears of it writes it down."""
        for place in left:
            if place in node.people:
                node.people.discard(place)
                if node.seen:
                    self._count(place, -1, record=yielded and place in self._yielded)

    def _show(self, node: Replica, seen: bool) -> None:
        """Let a node's people count, or not."""
        if node.seen != seen:
            node.seen = seen
            for place in tuple(node.people):
                self._count(place, 1 if seen else -1, record=False)

    def _remove(self, name: str, *, record: bool) -> None:
        node = self._nodes.pop(name)
        for place in node.people:
            if node.seen:
                self._count(place, -1, record=record)
            elif record and not self.is_online(*place):
                self._tell(place, False, True)

    # ------------------------------------------------------------------ leases

    def _look_at_line(self, now: float) -> None:
        """After an outage of this node's own the others may have taken it for dead, and may be gone themselves."""
        since = self._link.well_since
        if since is not None:
            if since - self._well_at > LEASE_SECONDS / 2:
                self._to_record = deque(self._own)
            self._well_at = now
        elif now - self._well_at < LEASE_SECONDS:
            # What crossed this node's last words may come when the line is back, however late that is.
            self._in_doubt = dict.fromkeys(self._in_doubt, now + FORGET_BURIED_SECONDS)

    def _end_leases(self, now: float) -> None:
        _forget(self._gone, now)
        _forget(self._buried, now)
        _forget(self._in_doubt, now)
        since = self._link.well_since
        ended: list[str] = []
        for name, node in self._nodes.items():
            if node.ends_at is not None:
                if node.ends_at <= now:
                    ended.append(name)
            elif since is not None and now > max(node.heard_at, since) + LEASE_SECONDS:
                logger.warning(
                    "node %s has not been heard for %.0f s; its people are offline", name, now - node.heard_at
                )
                ended.append(name)
                self._buried[name] = now + FORGET_BURIED_SECONDS
            elif now > node.heard_at + LEASE_SECONDS:
                self._show(node, False)
        first = bool(ended) and self._is_first(now, ended)
        for name in ended:
            self._remove(name, record=first)

    def _heard(self, now: float) -> list[str]:
        """The other nodes that live for all that is known."""
        return [
            name
            for name, node in self._nodes.items()
            if node.ends_at is None and now - node.heard_at < BEAT_SECONDS * 3
        ]

    def _is_first(self, now: float, ended: list[str]) -> bool:
        """Whether it is this node that writes down what happened to one that is gone."""
        others = [name for name in self._heard(now) if name not in ended]
        return not others or (not self._left and self._link.node < min(others))

    # ------------------------------------------------------------------ speaking (`redis_line.Source`)

    def take(self, owns: Owns | None = None) -> list[Note]:
        if self._left:
            return []
        said: list[tuple[str, Said]] = []
        if self._diff_due or self._answering:  # a state tells all that there is, so nothing may be pending
            self._diff_due = False
            said += [(EVERYBODY, diff) for diff in self._diffs()]
        if self._goodbye is not None:
            self._left = True
            said.append((EVERYBODY, self._goodbye))
        elif self._beat_due:
            self._beat_due = False
            said.append((EVERYBODY, Beat(self._link.node, self._number)))
        for name in self._answering:
            said += [(_channel(name), state) for state in states_of(self._link.node, self._number, self._own)]
        said += self._asking.items()  # after the answers: who hears an answer need not ask back
        self._asking.clear()
        self._answering.clear()
        return [
            (where, payload)
            for channel, payload in [(channel, self._encoder.encode(one)) for channel, one in said]
            for where in (self._everybody if channel == EVERYBODY else (channel,))
        ]

    def failed(self, notes: Sequence[Note]) -> None:
        """The numbers will show what is missing, and a beat tells them as soon as Redis is back."""
        self._beat_due = True

    def _diffs(self) -> list[Diff]:
        pending, self._pending = self._pending, {}
        diffs = []
        for part in in_parts(pending):
            self._number += 1
            came, left, yielded = (
                by_shop(place for place in part if pending[place] == kind) for kind in ("came", "left", "yielded")
            )
            diffs.append(Diff(self._link.node, self._number, came, left, yielded))
        return diffs

    # ------------------------------------------------------------------ listening

    def _begin(self) -> None:
        """Listening has begun, for the first time or again: everybody is asked for everything."""
        self._beat_due = True
        self._asking[EVERYBODY] = Ask(self._link.node)
        self._link.wake()

    def _hear(self, payload: bytes) -> None:
        try:
            said = self._decoder.decode(payload)
        except msgspec.DecodeError as error:
            logger.warning("what came from Redis is nothing of chatd's presence: %s", error)
            return
        if said.node == self._link.node or said.node in self._gone:
            return
        now = self._loop.time()
        node = self._nodes.get(said.node)
        if node is None:
            node = self._nodes[said.node] = Replica(now)
        node.heard_at = now
        self._show(node, True)
        if isinstance(said, Diff):
            self._apply(node, node.hear_diff(said))
        elif isinstance(said, State):
            outcome = node.hear_state(said)
            if outcome is not None:
                self._buried.pop(said.node, None)
                came, left, following = outcome
                self._add(node, came)
                self._take_away(node, left)
                self._apply(node, following)
        elif isinstance(said, Ask):
            self._answering[said.node] = None
            if not node.is_known:
                node.asked_at = None  # whoever asks listens by now; what it was asked before may have come too early
            if said.buried and not self._to_record:
                self._to_record.extend(self._own)
            self._link.wake()
        elif isinstance(said, Goodbye):
            node.ends_at = now + said.grace_seconds
            self._gone[said.node] = node.ends_at + FORGET_GOODBYE_SECONDS
            self._loop.call_at(node.ends_at + 0.01, lambda: self._end_leases(self._loop.time()))
            return
        number = said.number if isinstance(said, Beat | Diff) else -1
        if node.is_behind(number) and (node.asked_at is None or now - node.asked_at >= ASK_AGAIN_SECONDS):
            node.asked_at = now
            self._asking[_channel(said.node)] = Ask(self._link.node, said.node in self._buried)
            self._link.wake()

    def _apply(self, node: Replica, diffs: list[Diff]) -> None:
        for diff in diffs:
            self._add(node, places(diff.came))
            self._take_away(node, places(diff.left))
            self._take_away(node, places(diff.yielded), yielded=True)


def _forget(kept: dict[Key, float], now: float) -> None:
    for key in [key for key, until in kept.items() if until < now]:
        del kept[key]


def _channel(node: str) -> str:
    return f"node:{node}"
