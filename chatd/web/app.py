"""The one place that joins the parts. Nothing else makes a store, a hub or a courier, and nothing is found by a global
name: who needs a part is handed it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from chatd.config import Settings
from chatd.dispatch import Circumstances, Dispatch
from chatd.dispatch.door import as_publication
from chatd.dispatch.forwarding import ForwardingDispatch
from chatd.dispatch.work import wall_clock
from chatd.domain.events import MailQueued, MessageSent
from chatd.live.bus import Bus, MemoryBus, Publication
from chatd.live.hub import Hub
from chatd.live.presence import MemoryPresence, Presence
from chatd.live.redis_bus import RedisBus
from chatd.live.redis_cluster import make_link
from chatd.live.redis_link import Link
from chatd.live.redis_presence import RedisPresence
from chatd.live.wheel import Wheel
from chatd.metrics import Metrics
from chatd.notify.courier import Courier
from chatd.notify.links import open_link
from chatd.notify.smtp import make_transport
from chatd.notify.topics import TopicFinder
from chatd.resources import static_directory, templates_directory
from chatd.store import log
from chatd.store.contract import Store
from chatd.store.opening import make_store
from chatd.store.shops import ShopDirectory
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_election import Election
from chatd.topics.files import model_in_force
from chatd.topics.worker import TopicWorker
from chatd.web.admission import Front
from chatd.web.assets import Assets
from chatd.web.echo import with_echo
from chatd.web.handshake import Accepted, Refused, answer_handshake, refuse
from chatd.web.login import Login
from chatd.web.numbers import number_routes
from chatd.web.pace import pace_address
from chatd.web.pages import OpenedLink, Pages
from chatd.web.parts import Chat
from chatd.web.passwords import Passwords
from chatd.web.presence_signals import PresenceSignals
from chatd.web.rendering import Rendering
from chatd.web.security import Guard, Refusals
from chatd.web.sessions import Sessions
from chatd.web.socket import SocketProtocol
from chatd.web.turnstile import TurnedAway, Turnstile
from chatd.web.upkeep import (
    UnknownCommits,
    check_positions,
    check_positions_now,
    check_sessions,
    check_store,
    keep_house,
    let_leases_end,
    settle_presence,
)
from chatd.web.welcome import sees_replies
from chatd.wire.protocol import Side

FILL_EVENTS_MAX = 1_000

logger = logging.getLogger("chatd")


@contextlib.asynccontextmanager
async def open_chat(settings: Settings, *, clock: Callable[[], int] = wall_clock) -> AsyncIterator[Chat]:
    """One running chatd without its doors: store, dispatcher, hub, presence. The schema must be up to date
    (`store.migrations.migrate`). Raises `StoreUnavailable`."""
    loop = asyncio.get_running_loop()
    metrics = Metrics()
    store = make_store(settings)
    await store.open()
    try:
        directory = ShopDirectory(store)
        await directory.refresh()

        hub = Hub(
            partial(_read_missing, store),
            join=lambda shop: bus.join(shop),
            leave=lambda shop: bus.leave(shop),
            holes=metrics.counter("chatd_hub_holes_total", "Holes in a shop's stream that were filled from the log."),
        )
        graces = {
            "gone_grace_seconds": settings.presence_leave_grace_seconds,
            "hidden_grace_seconds": settings.presence_hidden_grace_seconds,
        }
        link: Link | None = None
        bus: Bus
        presence: Presence
        if settings.redis_url:
            link = _make_link(settings)
            bus = RedisBus(
                link,
                hub.receive,
                heard_of=hub.check_position,
                check=lambda shops: chat.spawn(check_positions_now(chat, shops)),
                dropped=metrics.counter("chatd_bus_dropped_total", "Events and signals that were not sent to Redis."),
            )
            presence = RedisPresence(link, lambda change: presence_signals.tell(change), **graces)
        else:
            bus = MemoryBus(hub.receive)
            presence = MemoryPresence(lambda change: presence_signals.tell(change), **graces)
        wheel = Wheel()
        dispatch = _make_dispatch(
            store,
            bus,
            hub,
            Circumstances(
                limits=settings.limits(),
                is_online=partial(sees_replies, presence),
                digest_quiet_ms=int(settings.digest_quiet_seconds * 1000),
                digest_wait_ms_max=int(settings.digest_wait_seconds_max * 1000),
                clock=clock,
            ),
            metrics,
            in_doubt=lambda shop: unknown_commits.see_to(shop),
            on_apart=lambda: chat.spawn(check_positions_now(chat, hub.shops())),
        )
        chat = Chat(
            settings=settings,
            store=store,
            directory=directory,
            dispatch=dispatch,
            hub=hub,
            bus=bus,
            presence=presence,
            wheel=wheel,
            metrics=metrics,
            clock=clock,
        )
        presence_signals = PresenceSignals(chat)
        unknown_commits = UnknownCommits(chat)

        metrics.gauge("chatd_connections", "Open sockets.", lambda: len(chat.sockets))
        courier = Courier(
            store,
            settle=dispatch.record,
            is_online=partial(sees_replies, presence),
            transport=make_transport(settings),
            settings=settings,
            clock=clock,
            owner=f"{os.getpid()}-{secrets.token_hex(4)}",
            metrics=metrics,
        )

        def poke(_shop: str, recorded: log.Recorded) -> None:
            if isinstance(recorded.event, MailQueued):
                courier.poke()

        dispatch.watch(poke)
        finder = _make_finder(chat) if settings.topics == "on" else None
        wheel.start()
        if link is not None:
            _join_nodes(chat, link)
        dispatch.start()
        carrying = loop.create_task(courier.run())

        async def check_courier() -> str | None:
            return "the courier has ended; mails stay in the queue" if carrying.done() else None

        chat.checks.update(store=partial(check_store, chat), courier=check_courier)
        background = [
            loop.create_task(let_leases_end(presence)),
            loop.create_task(check_positions(chat)),
            loop.create_task(check_sessions(chat)),
            loop.create_task(settle_presence(chat)),
            loop.create_task(keep_house(chat)),
            loop.create_task(directory.keep_fresh()),
            *([] if finder is None else [loop.create_task(finder.run())]),
        ]
        try:
            yield chat
        finally:
            await courier.stop()
            for task in (*background, carrying):
                task.cancel()
            await asyncio.gather(*background, carrying, return_exceptions=True)
            wheel.stop()
            await presence_signals.close()
            await chat.finish_tasks(2.0)
            await dispatch.close()
            await bus.close()
            if link is not None:
                await link.close()
            hub.close()
    finally:
        await store.close()


def create_app(chat: Chat, *, reload: bool = False) -> ASGIApp:
    """Everything that is asked over HTTP, and in the lifespan's state what the front needs to hand sockets over. With
    `reload`, changed static files and templates are noticed."""
    settings = chat.settings
    assets = Assets(static_directory(), reload=reload)
    rendering = Rendering(settings, assets, templates_directory(), reload=reload)
    sessions = Sessions(settings, chat.store, chat.clock, on_end=chat.log_out)
    passwords = Passwords()
    front = Front(settings, chat.wheel, with_echo(chat, _Sockets(chat), os.environ))
    login = Login(settings, chat.store, sessions, passwords, rendering, clock=chat.clock, now=chat.loop.time)

    def open_reply_link(link: str) -> OpenedLink:
        return open_link(link, settings.secret, chat.clock())

    pages = Pages(
        settings,
        chat.store,
        chat.directory,
        sessions,
        rendering,
        assets,
        open_link=open_reply_link,
        checks=chat.checks,
        degradations=chat.degradations,
        clock=chat.clock,
        now=chat.loop.time,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"front": front}
        passwords.close()

    refusals = Refusals(settings, rendering.error_page)
    app = Starlette(
        routes=[
            *login.routes(),
            *pages.routes(),
            *assets.routes(),
            *number_routes(chat.metrics, settings.metrics_token),
        ],
        lifespan=lifespan,
        exception_handlers=refusals.exception_handlers(),
    )
    return Guard(app, settings, refusals, counts=front.counts)


def _make_finder(chat: Chat) -> TopicFinder:
    """Not started yet. Hears of every message that this process commits."""
    settings = chat.settings
    finder = TopicFinder(
        chat.store,
        worker=TopicWorker(settings.topics_model_path or model_in_force(settings.data_directory)),
        record=chat.dispatch.record,
        clock=chat.clock,
        metrics=chat.metrics,
    )

    def note(shop: str, recorded: log.Recorded) -> None:
        if isinstance(recorded.event, MessageSent) and recorded.event.message.author.kind == "customer":
            finder.note(shop)

    async def check_topics() -> str | None:
        return finder.trouble()

    chat.dispatch.watch(note)
    chat.degradations["topics"] = check_topics
    return finder


def _make_dispatch(
    store: Store,
    bus: Bus,
    hub: Hub,
    circumstances: Circumstances,
    metrics: Metrics,
    *,
    in_doubt: Callable[[str], None],
    on_apart: Callable[[], None],
) -> Dispatch:
    """Of processes that share a SQLite file, one writes for all, if the system can tell which."""
    if isinstance(store, SQLiteStore) and store.is_shared and Election.is_possible():
        try:
            election = Election(store.path)
        except OSError as error:
            logger.warning("this process takes turns in writing: %s", error.strerror or error)
            dispatch = Dispatch(store, bus.publish, circumstances, in_doubt=in_doubt)
            dispatch.is_overlooked = True
            return dispatch
        else:
            return ForwardingDispatch(
                store,
                bus.publish,
                circumstances,
                election=election,
                hear=hub.receive,
                on_apart=on_apart,
                metrics=metrics,
                in_doubt=in_doubt,
            )
    return Dispatch(store, bus.publish, circumstances, in_doubt=in_doubt)


def _make_link(settings: Settings) -> Link:
    """All nodes of an installation share its secret, and by it they know each other from another installation that uses
    the same Redis. The node's name is new at each start."""
    prefix = hashlib.sha256(f"chatd nodes {settings.secret}".encode()).hexdigest()[:16]
    return make_link(settings.redis_urls, prefix=f"chatd:{prefix}", node=secrets.token_hex(6))


def _join_nodes(chat: Chat, link: Link) -> None:
    """Talk to the other nodes from now on."""

    async def check_redis() -> str | None:
        return link.trouble()

    chat.degradations["redis"] = check_redis
    chat.tell_nodes_of_session_end = lambda token_hash: link.say("sessions", token_hash.encode())
    link.subscribe("sessions", lambda payload: chat.end_session(payload.decode()))
    link.start()


async def _read_missing(store: Store, shop: str, after: int) -> list[Publication]:
    """What the hub asks for when a bus has left a hole."""
    missed = await store.read(lambda tx: log.read_after(tx, shop, after=after, most=FILL_EVENTS_MAX))
    return [as_publication(one) for one in missed]


class _Sockets:
    """Where the front takes requests for sockets (`web.admission.Sockets`)."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        # Staff have one of their own, so that an agent never stands behind a shop's customers.
        per_second = chat.settings.admissions_per_second_max
        self._turnstiles: dict[Side, Turnstile] = {"customer": Turnstile(per_second), "staff": Turnstile(per_second)}
        self._turned_away = chat.metrics.counter(
            "chatd_connections_turned_away_total",
            "Clients that were told when to come back, for too many came at once.",
        )

    def answer(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Accepted | Refused:
        chat = self._chat
        if chat.draining:
            return refuse(503, "this node is going away; try again", retry_after_seconds=1)
        return answer_handshake(path, headers, shops=chat.directory, own_origin=chat.settings.origin)

    def open(self, accepted: Accepted, on_lost: Callable[[], None], address: str) -> asyncio.Protocol:
        chat = self._chat
        delay_ms = self._turnstiles[accepted.side].delay_ms(chat.loop.time())
        if delay_ms:
            self._turned_away.add()
            return TurnedAway(delay_ms, chat.limits.frame_bytes_max, chat.wheel, on_lost)
        return SocketProtocol(chat, accepted, on_lost, pace_address(address))
