"""Presence over several nodes under any order of comings, goings, losses and deaths: all nodes agree in the end, nobody
flickers, and somebody has written down what is so. Thousands of seconds pass in none, on a line that is as bad as the
schedule wants."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from chatd.live.presence import Change
from chatd.live.redis_link import Note, Receiver, Source
from chatd.live.redis_presence import LEASE_SECONDS, RedisPresence
from tests import virtual_time

SHOP = "tea"
GRACE = 5.0
SCHEDULES = int(os.environ.get("CHATD_TEST_EXAMPLES", "25"))
QUIET_SECONDS = LEASE_SECONDS + GRACE + 5.0


class Air:
    """Carries what the nodes say; `lose`, `double` and `hold` are chances."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.nodes: dict[str, Line] = {}
        self.lose = self.double = self.hold = 0.0
        self.notes = 0

    def carry(self, sender: str, channel: str, payload: bytes) -> None:
        self.notes += 1
        for line in tuple(self.nodes.values()):
            if (
                line.is_cut
                or channel not in line.receivers
                or (line.node != sender and self.chance.random() < self.lose)
            ):
                continue
            for _ in range(2 if self.chance.random() < self.double else 1):
                delay = self.chance.uniform(0, 3.0) if self.chance.random() < self.hold else 0.001
                asyncio.get_running_loop().call_later(delay, line.hear, channel, payload)


class Line:
    """A node's line (`redis_link.RedisLink`), without Redis: says what its source has, in the next turn of the loop."""

    def __init__(self, air: Air, node: str) -> None:
        self.node = node
        self.air = air
        self.receivers: dict[str, Receiver] = {}
        self.is_cut = False
        self.well_since: float | None = virtual_time.running().time()
        self._source: Source | None = None
        self._woken = False
        air.nodes[node] = self

    def attach(self, source: Source) -> None:
        self._source = source

    def everywhere(self, channel: str) -> tuple[str, ...]:
        return (channel,)

    def subscribe(self, channel: str, receiver: Receiver, confirmed: Callable[[], None] | None = None) -> None:
        self.receivers[channel] = receiver
        if confirmed is not None:
            self._confirmed = confirmed
            virtual_time.running().call_soon(confirmed)

    def wake(self) -> None:
        if not self._woken:
            self._woken = True
            virtual_time.running().call_soon(self._say)

    def _say(self) -> None:
        self._woken = False
        if self.is_cut or self.node not in self.air.nodes:
            return
        assert self._source is not None
        notes: Sequence[Note] = self._source.take()
        for channel, payload in notes:
            self.air.carry(self.node, channel, payload)

    def hear(self, channel: str, payload: bytes) -> None:
        if not self.is_cut and self.node in self.air.nodes:
            self.receivers[channel](payload)

    def cut(self) -> None:
        if not self.is_cut:
            self.is_cut, self.well_since = True, None

    def mend(self) -> None:
        if self.is_cut:
            self.is_cut, self.well_since = False, virtual_time.running().time()
            self._confirmed()
            self.wake()


class Node:
    """A node's presence, and what it told."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.line = Line(world.air, name)
        self.told: list[Change] = []
        self.presence = RedisPresence(
            self.line,  # type: ignore[arg-type]
            self._tell,
            gone_grace_seconds=GRACE,
            hidden_grace_seconds=60.0,
        )
        self.connections: dict[str, str] = {}

    def _tell(self, change: Change) -> None:
        if self.line.node not in self.world.air.nodes:
            return
        self.told.append(change)
        if change.record:
            self.world.recorded[change.person] = change.online

    def connect(self, person: str, connection: str) -> None:
        self.connections[connection] = person
        self.presence.hold(SHOP, person, connection, active=True, now=virtual_time.running().time())

    def disconnect(self, connection: str) -> None:
        person = self.connections.pop(connection)
        self.presence.release(SHOP, person, connection, now=virtual_time.running().time())

    @property
    def view(self) -> set[str]:
        online = set(self.presence.online(SHOP))
        assert all(self.presence.is_online(SHOP, person) for person in online)
        return online

    def changes(self, person: str) -> list[bool]:
        return [change.online for change in self.told if change.person == person]


class World:
    """Some nodes; `recorded` is what the last word about each person was that anybody wrote down."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.air = Air(self.chance)
        self.nodes: list[Node] = []
        self.recorded: dict[str, bool] = {}
        self.deaths = 0
        self._names: Iterator[int] = iter(range(10_000))

    def start(self) -> Node:
        node = Node(self, f"node{self.chance.randrange(10**6):06}-{next(self._names)}")
        self.nodes.append(node)
        return node

    def kill(self, node: Node) -> None:
        self.deaths += 1
        self.nodes.remove(node)
        del self.air.nodes[node.line.node]

    async def pass_time(self, seconds: float) -> None:
        """As in the program: a look every half second."""
        loop = virtual_time.running()
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(min(0.5, end - loop.time()))
            for node in self.nodes:
                node.presence.expire(loop.time())

    def settle(self) -> None:
        """As in the program (`web.upkeep.settle_presence_now`): of people who died with the last node that knew of
        them, and of those of whom a node that is dead now wrote that they had left."""
        for node in self.nodes:
            for _, person in node.presence.here():
                self.recorded[person] = True
        node = self.chance.choice(self.nodes)
        assert node.presence.knows_all()
        for person in [person for person, online in self.recorded.items() if online]:
            if not node.presence.is_online(SHOP, person):
                self.recorded[person] = False

    @property
    def wrong(self) -> set[str]:
        """Of whom the last that was written down is not so."""
        return {person for person, online in self.recorded.items() if online != (person in self.truth)}

    @property
    def truth(self) -> set[str]:
        return {person for node in self.nodes for person in node.connections.values()}


def test_coming_and_going_are_known_everywhere_and_written_down_once() -> None:
    async def main() -> None:
        world = World(1)
        one, other, third = world.start(), world.start(), world.start()
        await world.pass_time(1)
        one.connect("mia", "c1")
        await world.pass_time(1)
        assert [node.view for node in (one, other, third)] == [{"mia"}] * 3
        one.disconnect("c1")
        await world.pass_time(GRACE + 1)
        assert [node.view for node in (one, other, third)] == [set()] * 3
        told = [change for node in (one, other, third) for change in node.told]
        assert len(told) == 6
        assert [change.online for change in told if change.record] == [True, False]

    virtual_time.run(main())


def test_a_question_that_came_before_the_other_listened_is_asked_again_as_soon_as_it_does() -> None:
    """A node's first beat may be heard before it listens itself. G5 leaves no second for asking again by the clock."""

    async def main() -> None:
        world = World(3)
        one = world.start()
        await world.pass_time(1)
        other = world.start()
        deaf = other.line.receivers.pop(f"node:{other.line.node}")
        other.line.wake()  # the beat
        await world.pass_time(0.01)
        other.line.receivers[f"node:{other.line.node}"] = deaf
        other.line._confirmed()
        await world.pass_time(0.01)
        other.connect("mia", "c1")
        await world.pass_time(0.2)
        assert one.view == {"mia"}

    virtual_time.run(main())


def test_walking_from_node_to_node_is_neither_told_nor_written_down() -> None:
    async def main() -> None:
        world = World(2)
        nodes = [world.start() for _ in range(3)]
        await world.pass_time(1)
        nodes[0].connect("mia", "c0")
        await world.pass_time(1)
        for step in range(1, 20):
            nodes[(step - 1) % 3].disconnect(f"c{step - 1}")
            await world.pass_time(0.4)
            nodes[step % 3].connect("mia", f"c{step}")
            await world.pass_time(world.chance.uniform(0.1, 8))
        assert [node.changes("mia") for node in nodes] == [[True]] * 3
        assert sum(change.record for node in nodes for change in node.told) == 1

    virtual_time.run(main())


def test_two_nodes_that_let_somebody_go_at_the_same_moment_write_it_down() -> None:
    """Each sees them on the other, so neither takes it for its own to write down; then whoever hears of it does."""

    async def main() -> None:
        world = World(3)
        one, other = world.start(), world.start()
        await world.pass_time(1)
        one.connect("mia", "c1")
        other.connect("mia", "c2")
        await world.pass_time(1)
        one.disconnect("c1")
        other.disconnect("c2")
        await world.pass_time(GRACE + 2)
        assert one.view == other.view == set()
        assert world.recorded == {"mia": False}

    virtual_time.run(main())


def test_who_comes_elsewhere_at_the_moment_when_they_leave_here_is_written_down_as_here() -> None:
    """The node that loses them has not heard yet that another one has them, and that one sees no change."""

    async def main() -> None:
        world = World(9)
        one, other = world.start(), world.start()
        await world.pass_time(LEASE_SECONDS + 2)
        one.connect("mia", "c1")
        await world.pass_time(1)
        one.disconnect("c1")
        await asyncio.sleep(GRACE)
        other.connect("mia", "c2")
        await world.pass_time(0.0)
        one.presence.expire(virtual_time.running().time())
        await world.pass_time(2)
        assert one.view == other.view == {"mia"}
        assert world.recorded == {"mia": True}

    virtual_time.run(main())


def test_a_newcomer_learns_of_everybody_who_is_there() -> None:
    async def main() -> None:
        world = World(4)
        one = world.start()
        for number in range(5_000):
            one.connect(f"p{number}", f"c{number}")
        await world.pass_time(1)
        newcomer = world.start()
        await world.pass_time(1)
        assert len(newcomer.view) == 5_000
        assert not any(change.record for change in newcomer.told)

    virtual_time.run(main())


def test_what_happens_within_a_moment_is_gathered_and_what_cancels_out_is_not_told() -> None:
    async def main() -> None:
        world = World(5)
        one, other = world.start(), world.start()
        await world.pass_time(5)
        notes = world.air.notes
        for number in range(1_000):
            one.connect(f"p{number}", f"c{number}")
        await asyncio.sleep(0.2)
        assert len(other.view) == 1_000
        assert world.air.notes - notes <= 2, "one note for all, and perhaps a beat"

    virtual_time.run(main())


@pytest.mark.parametrize("graceful", [False, True])
def test_a_node_that_goes_takes_its_people_along_and_one_of_the_others_writes_it_down(graceful: bool) -> None:
    async def main() -> None:
        world = World(6)
        first, *others = [world.start() for _ in range(4)]
        await world.pass_time(1)
        first.connect("mia", "c1")
        first.connect("leo", "c2")
        others[0].connect("leo", "c3")
        await world.pass_time(3)
        if graceful:
            first.presence.say_goodbye(0.9)
            await asyncio.sleep(0.05)
        world.kill(first)
        await world.pass_time(0.5)
        assert all(node.view == {"mia", "leo"} for node in others)
        await asyncio.sleep(0.5)
        if not graceful:
            await world.pass_time(LEASE_SECONDS)
        assert all(node.view == {"leo"} for node in others)
        written = [change for node in others for change in node.told if change.record and change.person == "mia"]
        assert [change.online for change in written] == [False]
        assert world.recorded == {"mia": False, "leo": True}

    virtual_time.run(main())


def test_while_a_node_is_cut_off_nothing_is_written_down_that_it_does_not_know() -> None:
    async def main() -> None:
        world = World(7)
        one, other = world.start(), world.start()
        await world.pass_time(1)
        one.connect("mia", "c1")
        other.connect("leo", "c2")
        await world.pass_time(3)
        for node in (one, other):  # Redis is gone, for both
            node.line.cut()
        await world.pass_time(60)
        assert one.view == {"mia"}
        assert other.view == {"leo"}
        assert world.recorded == {"mia": True, "leo": True}
        for node in (one, other):
            node.line.mend()
        await world.pass_time(5)
        assert one.view == other.view == {"mia", "leo"}
        assert world.recorded == {"mia": True, "leo": True}
        assert one.changes("leo") == [True, False, True], "at most once to and fro in an outage"

    virtual_time.run(main())


def test_who_died_while_this_node_was_cut_off_is_found_out_afterwards() -> None:
    async def main() -> None:
        world = World(8)
        one, other = world.start(), world.start()
        await world.pass_time(1)
        other.connect("mia", "c1")
        await world.pass_time(3)
        one.line.cut()
        other.line.cut()
        await world.pass_time(20)
        world.kill(other)
        one.line.mend()
        await world.pass_time(LEASE_SECONDS + 2)
        assert one.view == set()
        assert world.recorded == {"mia": False}

    virtual_time.run(main())


async def _something_happens(world: World, people: list[str], name: str, *, wild: bool, deadly: bool) -> None:
    """Tame, one thing is broken at a time: no node is cut off or dies while another one is cut off."""
    chance = world.chance
    node = chance.choice(world.nodes)
    is_broken = any(one.line.is_cut for one in world.nodes) and not wild
    what = chance.random()
    if what < 0.40:
        node.connect(chance.choice(people), name)
    elif what < 0.80:
        if node.connections:
            node.disconnect(chance.choice(sorted(node.connections)))
    elif what < 0.86 and not is_broken:
        node.line.cut()
    elif what < 0.92 or is_broken:
        for one in [node] if wild else world.nodes:
            one.line.mend()
    elif what < 0.97 and len(world.nodes) > 1 and deadly:
        if chance.random() < 0.5:
            node.presence.say_goodbye(0.9)
            await asyncio.sleep(0.05)
        world.kill(node)
    else:
        world.start()


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_under_any_schedule_all_agree_in_the_end(seed: int, wild: bool) -> None:
    """People walk about between nodes, lines lose, double, delay and are cut, nodes die, end and start. When all that
    has stopped for a while, every node sees who is there. What was written down last is so, too: at once, unless a
    node died that alone knew better (in every other schedule none does); else as soon as the two are compared."""

    async def main() -> None:
        world = World(seed)
        for _ in range(world.chance.randint(2, 4)):
            world.start()
        people = [f"p{number}" for number in range(6)]
        for step in range(150):
            world.air.lose, world.air.double, world.air.hold = world.chance.choice(
                [(0.0, 0.0, 0.0), (0.2, 0.3, 0.3), (0.0, 0.5, 0.5)]
            )
            await _something_happens(world, people, f"c{step}", wild=wild, deadly=seed % 2 == 0)
            await world.pass_time(world.chance.choice([0.0, 0.05, 0.5, 2.0, 7.0, 12.0]))
        world.air.lose = world.air.double = world.air.hold = 0.0
        for node in world.nodes:
            node.line.mend()
        await world.pass_time(QUIET_SECONDS)
        assert wild or world.deaths or not world.wrong, f"what was written down last of {world.wrong} is not so"
        world.settle()
        for node in world.nodes:
            assert node.view == world.truth, f"{node.line.node} does not see who is there"
            for person in people:
                changes = node.changes(person)
                assert not changes or changes[-1] == (person in world.truth)
        assert not world.wrong, f"what was written down last of {world.wrong} is not so"

    virtual_time.run(main())
