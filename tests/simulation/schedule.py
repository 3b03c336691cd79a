"""What happens in a schedule: its seed chooses which kinds of faults it has, and then one thing after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

from tests.simulation import check
from tests.simulation.loop import Loop
from tests.simulation.mailserver import MOODS
from tests.simulation.people import Page
from tests.simulation.world import CONVERGED_SECONDS, MAILED_SECONDS, World, seams

STEPS = 45
PAUSES = (0.0, 0.005, 0.02, 0.05, 0.2, 0.5, 1.0)
SKEW_SECONDS = (-7_200.0, -300.0, -2.0, 2.0, 300.0, 86_400.0)

Act = Callable[[World], None]


# ---------------------------------------------------------------- people


def customer_says(world: World) -> None:
    page = world.chance.choice(world.customers)
    for _ in range(world.chance.choice((1, 1, 2, 5))):
        page.say()


def staff_say(world: World) -> None:
    page = world.chance.choice(world.staff)
    if rows := page.conversations():
        page.say(world.chance.choice(rows)["id"])


def somebody_sees(world: World) -> None:
    page = world.chance.choice(world.pages)
    if rows := page.conversations():
        row = world.chance.choice(rows)
        page.do("mark_seen", conversation=row["id"], position=world.chance.randint(0, row["position"]))


def it_is_delivered(world: World) -> None:
    page = world.chance.choice(world.customers)
    for row in page.conversations():
        page.do("mark_delivered", conversation=row["id"], position=row["position"])


def cart_changes(world: World) -> None:
    quantity = world.chance.randint(1, 3)
    line = {"id": "cup", "title": "Cup", "quantity": quantity, "price": 900, "url": "https://shop.example/cup"}
    cart = {"currency": "EUR", "subtotal": 900 * quantity, "lines": [line]}
    world.chance.choice(world.customers).do("update_cart", cart=cart)


def somebody_repeats(world: World) -> None:
    world.chance.choice(world.pages).repeat()


def customer_goes(world: World) -> None:
    world.chance.choice(world.customers).close()


def customer_returns(world: World) -> None:
    for page in world.customers:
        page.open()


def everybody_goes(world: World) -> None:
    for page in world.customers:
        page.close()


def somebody_looks_in(world: World) -> None:
    """Comes back, reads what the page shows by then, and goes."""
    page = world.chance.choice(world.customers)
    seconds_to_load, seconds_to_read = world.chance.uniform(0.3, 2.0), world.chance.uniform(0.1, 1.0)

    async def look_in() -> None:
        page.open()
        await asyncio.sleep(seconds_to_load)
        page.read()
        await asyncio.sleep(seconds_to_read)
        page.close()

    world.spawn(look_in())


def another_tab_opens(world: World) -> None:
    known = [page for page in world.customers if page.account.token is not None]
    if known and len(world.pages) < 9:
        page = world.chance.choice(known)
        world.pages.append(Page(world, page.account, f"{page.name}-tab{len(world.pages)}"))


def customer_hides(world: World) -> None:
    page = world.chance.choice(world.customers)
    page.show(world.chance.random() < 0.5)


LIFE: tuple[Act, ...] = (
    customer_says,
    customer_says,
    staff_say,
    staff_say,
    somebody_sees,
    it_is_delivered,
    cart_changes,
    customer_goes,
    customer_returns,
    another_tab_opens,
    customer_hides,
)


# ---------------------------------------------------------------- faults, by kind


def node_dies(world: World) -> None:
    if len(world.live_nodes) > 1 or world.chance.random() < 0.5:
        node = world.chance.choice(world.nodes)
        world.note(f"{node.name} is killed")
        world.deaths.append(world.loop.time())
        node.kill()


def courier_dies(world: World) -> None:
    """The next node that talks to the mail server is killed while it does, unless the faults end before."""
    healings = world.healings

    async def lie_in_wait() -> None:
        while world.healings == healings:
            for node in world.nodes:
                if node.is_alive and node.transport is not None and node.transport.is_carrying:
                    world.note(f"{node.name} is killed with a mail under way")
                    world.deaths.append(world.loop.time())
                    node.kill()
                    return
            await asyncio.sleep(0.1)

    world.spawn(lie_in_wait())


def node_returns(world: World) -> None:
    for node in world.nodes:
        node.start_if_dead()


def node_ends(world: World) -> None:
    node = world.chance.choice(world.nodes)
    world.note(f"{node.name} is stopped")
    world.deaths.append(world.loop.time())
    world.spawn(node.stop())


def connection_breaks(world: World) -> None:
    if wires := world.open_wires:
        world.chance.choice(wires).reset()


def connection_dies(world: World) -> None:
    if wires := world.open_wires:
        wire = world.chance.choice(wires)
        if world.chance.random() < 0.5:
            wire.is_silent = True
        else:
            wire.is_deaf = True


def client_stops_reading(world: World) -> None:
    if wires := world.open_wires:
        world.chance.choice(wires).is_full = True


def client_reads_on(world: World) -> None:
    for wire in world.open_wires:
        wire.heal()


def redis_changes(world: World) -> None:
    chance, redis = world.chance, world.redis
    match chance.randrange(8):
        case 0:
            redis.is_away = True
            redis.break_connections()
        case 1:
            redis.is_hung = True
        case 2:
            for node in world.nodes:
                if chance.random() < 0.5:
                    redis.cut.add(node.node_id)
                    redis.break_connections(node.node_id)
        case 3:
            redis.break_connections()
        case 4 | 5 | 6:
            redis.lose, redis.double, redis.hold = chance.choice(((0.2, 0.3, 0.3), (0.5, 0.0, 0.0), (0.0, 0.5, 0.5)))
        case 7:
            dead = {node.node_id for node in world.nodes if not node.is_alive}
            redis.heal()
            redis.cut |= dead


def disk_changes(world: World) -> None:
    world.troubles += 1
    world.disk.is_full, world.disk.is_away = world.chance.choice(((True, False), (True, True), (False, False)))
    world.disk.lost_answers = world.chance.choice((0.0, 0.3))
    world.deaths.append(world.loop.time())


def mail_server_changes(world: World) -> None:
    world.mail.moods = (world.chance.choice(MOODS), world.chance.choice(MOODS))


def clock_is_set(world: World) -> None:
    world.is_skewed = True
    world.chance.choice(world.nodes).skew_seconds = world.chance.choice(SKEW_SECONDS)


FAULTS: dict[str, tuple[Act, ...]] = {
    "nodes": (node_dies, node_dies, node_returns, node_returns, node_ends),
    "connections": (connection_breaks, connection_breaks, connection_dies),
    "slow": (client_stops_reading, client_reads_on),
    "repeats": (somebody_repeats,),
    "redis": (redis_changes, redis_changes),
    "disk": (disk_changes,),
    "mail": (mail_server_changes,),
    "clocks": (clock_is_set,),
}


RARELY = {"clocks": 0.1, "mail": 0.25}
SLOW_FAULTS: dict[str, tuple[Act, ...]] = {
    "nodes": (courier_dies, courier_dies, courier_dies, node_dies, node_returns, node_ends),
    "disk": FAULTS["disk"],
    "mail": FAULTS["mail"] * 3,
    "clocks": FAULTS["clocks"],
}
ABSENCES = 5
SHORT_WAITS = (0.0, 0.5, 2.0, 5.0)
LONG_WAITS = (0.0, 1.0, 3.0, 6.0, 12.0)
"""A mail is due 2 s after its message and their leaving, a courier begins 4 s after its node, a lease lasts 20 s."""


# ---------------------------------------------------------------- the whole


async def carry_out(world: World) -> None:
    chance = world.chance
    await world.begin(nodes=chance.choice((1, 2, 2, 3)))
    # Schedules that have few kinds of faults, but many of each, find what a bit of everything hides.
    kinds = [kind for kind in FAULTS if chance.random() < RARELY.get(kind, 0.4)]
    world.note(f"{len(world.nodes)} nodes; faults: {', '.join(kinds) or 'none'}")
    acts = [*LIFE, *(act for kind in kinds for act in FAULTS[kind] * 2)]
    await _go_on(world, chance.choices(acts, k=STEPS), chance.choice((PAUSES, PAUSES[:4], PAUSES[2:])))
    await _come_together(world)
    if "mail" in kinds:
        # A mail takes longer than a message, and who is away reads nothing: another pace.
        await _be_away(world, [act for kind in kinds for act in SLOW_FAULTS.get(kind, ())])
        await _come_together(world)
    if "mail" in kinds or "nodes" in kinds:
        for page in world.customers:
            page.close()
        world.note("all customers leave")
        await world.until(check.who_is_not_known, CONVERGED_SECONDS)
    if "mail" in kinds and not world.is_skewed:
        await world.until(check.what_is_unmailed, MAILED_SECONDS)
        world.is_mailed = True
    check.check_log(world)
    check.check_mails(world)
    await world.end()
    check.check_end(world)


async def _go_on(world: World, acts: Iterable[Act], pauses: tuple[float, ...]) -> None:
    for act in acts:
        world.note(act.__name__)
        act(world)
        await asyncio.sleep(world.chance.choice(pauses))


async def _be_away(world: World, faults: list[Act]) -> None:
    """The story of every mail, several times: they leave, somebody replies, things break, they look in."""
    chance = world.chance
    for page in world.customers:
        page.say()
    await asyncio.sleep(1.0)
    for _ in range(ABSENCES):
        story = [node_returns, everybody_goes, *[staff_say] * chance.choice((1, 2, 4))]
        events = [*chance.choices(faults, k=chance.randrange(4)), *[somebody_looks_in] * chance.randrange(4)]
        chance.shuffle(events)
        await _go_on(world, [*story, *events], chance.choice((SHORT_WAITS, LONG_WAITS)))


async def _come_together(world: World) -> None:
    """The faults end, and in time all have what they should have."""
    for page in world.customers:
        page.open()
    if world.chance.random() < 0.5:
        # All have found their places by now, and after this last word nothing comes by which its loss would be seen.
        await asyncio.sleep(3.0)
        world.chance.choice((customer_says, staff_say))(world)
        await asyncio.sleep(0.5)
    world.heal()
    await world.until(check.what_is_apart, CONVERGED_SECONDS)
    check.check_log(world)
    check.check_people(world)


def run(seed: int) -> World:
    """One schedule. Raises `check.Broken` when a promise was."""
    worlds: list[World] = []

    async def main() -> None:
        worlds.append(World(seed))
        await carry_out(worlds[0])

    random.seed(seed)  # of which the jitter of chatd's own is drawn
    with seams(lambda: worlds[0]):
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(main())
        except (check.Broken, AssertionError) as error:
            raise check.Broken(f"{error}\n" + "\n".join([*worlds[0].trace[-80:], *worlds[0].errors[:3]])) from error
    worlds[0].disk.close()
    return worlds[0]
