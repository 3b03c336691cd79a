"""One process writes for all that share a SQLite file: `ForwardingDispatch`, the door of each of them.

Each could write by itself, in turns, and each does when nothing else works: SQLite's lock and the stored results make
that right. But whoever writes after somebody else has to look at everything anew, so turns cost twice what one writer
costs. So one of them is elected *leader* (`store.sqlite_election`). It writes as a process that is alone does, with its
journal and with what it remembers; the others, *forwarders*, pass commands and facts on to it over a line
(`dispatch.line`, `dispatch.leader`) and are told of everything that it commits.

What holds, whatever dies, hangs or is cut off:

* *Once.* What was passed on and not answered when the line is lost is carried out here, in its order, before anything
  that came later. If the leader has committed it all the same, the repeat finds its result and changes nothing; and
  since nobody else may have heard of it then, its shop is `in_doubt`.
* *In order.* What one connection submits goes one way at a time. Between the ways it is held until the old one has
  answered everything.
* *Heard.* A forwarder is told of events in the order of their numbers. A process that is not stands *apart*, and as
  long as anyone does, the leader tells everybody through the bus; when all are near, the bus is spared. Who loses the
  line goes apart first, and then compares its positions with the log (`on_apart`).
* *Not worse than without.* While anyone is apart, the leader keeps no journal.

Readers of a forwarder have the leader settle the journal, and fall back to this process's own writer. Whatever else
writes (logins, the courier's leases) goes on writing by itself. Where a file beside the database cannot be locked or
listened at, nobody leads and nobody forwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import cast

from chatd import __version__
from chatd.dispatch.door import Answer, Dispatch, Done, Publish
from chatd.dispatch.leader import Leader
from chatd.dispatch.line import UNDER_WAY_MAX, Line, UnderWay
from chatd.dispatch.line_frames import SettleJournal, Wish
from chatd.dispatch.work import Circumstances
from chatd.domain.commands import Command, Fact
from chatd.domain.people import Actor, system_actor
from chatd.errors import ChatError, Temporary
from chatd.live.bus import Publication
from chatd.metrics import Metrics
from chatd.store.contract import Transaction
from chatd.store.schema import REVISION
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_election import Election

LINE_VERSION = 1

AGAIN_SECONDS_MAX = 0.3
"""At most so long, by chance, between two attempts to lead or to reach the leader."""

REFUSED_SECONDS = 5.0
UNABLE_SECONDS = 10.0
"""At most so long, by chance, until a process that could not be reached as the leader tries again."""

LOOK_SECONDS = 0.5
LEAVE_SECONDS_MAX = 3.0

logger = logging.getLogger("chatd.forwarding")


def rules_of(circumstances: Circumstances) -> bytes:
    """A digest of everything by which two processes could decide differently. They forward to each other only if it is
    the same."""
    rules = (
        LINE_VERSION,
        __version__,
        REVISION,
        circumstances.limits,
        circumstances.digest_quiet_ms,
        circumstances.digest_wait_ms_max,
    )
    return hashlib.sha256(repr(rules).encode()).digest()


async def _mark(_tx: Transaction) -> None:
    """Nothing: that it is answered says that all before it is."""


class _Held:
    """What is submitted between two ways."""

    def __init__(self) -> None:
        self.calls: list[UnderWay] = []

    def pass_on(self, actor: Actor, wish: Wish, answer: Answer) -> None:
        if len(self.calls) >= UNDER_WAY_MAX:
            answer(None, Temporary(f"{UNDER_WAY_MAX} writes are waiting already; try again"))
        else:
            self.calls.append((actor, wish, answer))


class ForwardingDispatch(Dispatch):
    """See the module's text. `hear(shop, publications)` delivers to the followers of this process and nobody else;
    `on_apart()` must not block."""

    def __init__(
        self,
        store: SQLiteStore,
        publish: Publish,
        circumstances: Circumstances,
        *,
        election: Election,
        hear: Publish,
        on_apart: Callable[[], None],
        metrics: Metrics,
        in_doubt: Callable[[str], None] = lambda shop: None,
    ) -> None:
        super().__init__(store, self._publish_to_all, circumstances, in_doubt=in_doubt)
        self._shared = store
        self._ring = publish
        self._hear = hear
        self._on_apart = on_apart
        self._election = election
        self._rules = rules_of(circumstances)
        self._way: Line | _Held | None = None  # None: this process's own writer
        self._line: Line | None = None  # welcomed, and not lost
        self._leader: Leader | None = None
        self._refusal = ""  # why there is no line
        self._last_logged = ""
        self._is_closing = False
        self._running: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        self._are_all_near: bool | None = None  # in this turn of the loop, if somebody has looked
        election.go_apart()
        metrics.gauge("chatd_leads", "Whether this process writes for all that share its database.", lambda: self.leads)
        metrics.gauge(
            "chatd_forwarders",
            "Processes that this one writes for.",
            lambda: self._leader.lines if self._leader is not None else 0,
        )
        self._forwarded = metrics.counter("chatd_forwarded_total", "Commands and facts passed on to the leader.")
        self._lost_lines = metrics.counter("chatd_forwarding_lost_total", "Lines to the leader that were lost.")
        self._repeated = metrics.counter(
            "chatd_forwarding_repeated_total", "Commands and facts carried out here because the line was lost."
        )

    @property
    def leads(self) -> bool:
        return self._leader is not None

    @property
    def forwards(self) -> bool:
        """Whether another process writes for this one at present."""
        return self._line is not None

    # ------------------------------------------------------------------ what is submitted here

    def submit(self, actor: Actor, command: Command, answer: Answer) -> None:
        way = self._way
        if way is None:
            super().submit(actor, command, answer)
        else:
            way.pass_on(actor, cast(Wish, command), answer)

    def _note(self, shop: str, fact: Fact, answer: Answer) -> None:
        way = self._way
        if way is None:
            super()._note(shop, fact, answer)
        else:
            way.pass_on(system_actor(shop), cast(Wish, fact), answer)

    async def check(self) -> None:
        if isinstance(self._way, Line):
            await self._way.settle()  # the leader commits for it
        else:
            await super().check()

    def _carry_out_here(self, actor: Actor, wish: Wish, answer: Answer) -> None:
        if isinstance(wish, SettleJournal):
            answer(None, Temporary("the line was lost"))
        elif isinstance(wish, Fact):
            super()._note(actor.shop, wish, answer)
        else:
            super().submit(actor, wish, answer)

    # ------------------------------------------------------------------ for others

    def _carry_out_for(self, actor: Actor, wish: Wish, check: Callable[[], None], answer: Answer) -> None:
        if isinstance(wish, SettleJournal):
            task = asyncio.get_running_loop().create_task(self._settle_for(answer))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
            return
        job = self._job_of_fact(actor.shop, wish) if isinstance(wish, Fact) else self._job_of(actor, wish)

        async def checked(tx: Transaction) -> Done:
            check()
            return await job(tx)

        self._carry_out(actor.shop, checked, wish, answer)

    def _publish_to_all(self, shop: str, publications: Sequence[Publication]) -> None:
        """What this process has committed."""
        leader = self._leader
        if leader is None:
            self._ring(shop, publications)
            return
        leader.tell(shop, publications)
        if self._look_whether_all_are_near():
            self._hear(shop, publications)
        else:
            self._ring(shop, publications)

    def _look_whether_all_are_near(self) -> bool:
        """Once in a turn of the loop. If not, the journal would be in the way of those who write by themselves."""
        if self._are_all_near is None:
            asyncio.get_running_loop().call_soon(self._forget_who_is_near)
            self._are_all_near = not self._election.somebody_is_apart()
            self._shared.keep_journal(self._are_all_near)
        return self._are_all_near

    def _forget_who_is_near(self) -> None:
        self._are_all_near = None

    async def _settle_for(self, answer: Answer) -> None:
        try:
            await self._shared.settle()
        except ChatError as error:
            answer(None, error)
        else:
            answer(b"null", None)

    # ------------------------------------------------------------------ the line to the leader (`line.Ends`)

    def welcomed(self, line: Line) -> None:
        if self._line is not None:
            return
        self._line = line
        self._way = _Held()
        self._election.come_near()
        self._shared.settle_by(line.settle)
        self._begin_to_forward(line)

    def _begin_to_forward(self, line: Line) -> None:
        """As soon as all that has gone to this process's own writer is answered. A mark behind it tells: that the
        writer had nothing to do at all might never be, for logins and the courier go there, too."""
        if line is not self._line:
            return
        try:
            self._shared.submit(_mark, lambda _result, _error: self._forward_held(line))
        except Temporary:  # as many wait for the writer as may
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._begin_to_forward, line)

    def _forward_held(self, line: Line) -> None:
        held = self._way
        if line is not self._line or not isinstance(held, _Held) or line.is_leaving:
            return
        self._way = line
        for call in held.calls:
            line.pass_on(*call)

    def told(self, shop: str, publications: Sequence[Publication]) -> None:
        self._hear(shop, publications)

    def unfit(self, call: UnderWay) -> None:
        self._carry_out_here(*call)

    def leaving(self, line: Line) -> None:
        if line is self._line and not isinstance(self._way, _Held):
            self._way = _Held()

    def lost(self, line: Line, under_way: list[UnderWay], why: str) -> None:
        if line is not self._line:
            self._refusal = why
            return
        self._line = None
        self._shared.settle_by(None)
        self._election.go_apart()
        held = self._way.calls if isinstance(self._way, _Held) else []
        self._way = None
        if why:
            self._lost_lines.add()
            logger.warning("the process that writes for this one was lost (%s); this one writes by itself", why)
        repeated = [call for call in under_way if not isinstance(call[1], SettleJournal)]
        self._repeated.add(len(repeated))
        for actor, wish, answer in (*under_way, *held):
            self._carry_out_here(actor, wish, answer)
        for shop in {actor.shop for actor, _, _ in repeated}:
            self._in_doubt(shop)
        if not self._is_closing:
            self._on_apart()

    # ------------------------------------------------------------------ taking part

    def start(self) -> None:
        """From now on this process leads or forwards, when it can and as long as it may write."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while not self._shared.is_outdated:
            try:
                if not self._election.is_in_place():
                    self._election.begin_anew()
                    self._on_apart()  # until now a leader could not know that this process has no line to it
                pause = await (self._lead() if self._election.stand() else self._forward())
            except Exception as error:  # noqa: BLE001 - only time is lost: it writes by itself until that is over
                self._log_once(logging.WARNING, f"it takes turns: {getattr(error, 'strerror', None) or error}")
                pause = UNABLE_SECONDS * random.uniform(0.5, 1.0)
            await asyncio.sleep(pause)
        self._log_once(logging.ERROR, "a newer chatd has changed the database; it must be restarted")

    async def _lead(self) -> float:
        """As long as it may write and others find it. Raises `OSError` when this process cannot be reached, and does
        not lead then."""
        leader = Leader(self._carry_out_for, self._rules)
        try:
            await leader.listen(self._election.listen())
        except BaseException:
            self._election.resign()
            raise
        self._leader = leader
        self._election.come_near()
        self._log_once(logging.INFO, "it writes for all")
        while self._election.is_in_place() and not self._shared.is_outdated:
            self._look_whether_all_are_near()
            await asyncio.sleep(LOOK_SECONDS)
        await self._stop_leading()
        return 0.0

    async def _stop_leading(self) -> None:
        """In good order: what is under way is answered."""
        if self._leader is None:
            return
        await self._leader.close()
        self._leader = None
        self._election.go_apart()
        self._shared.keep_journal(False)
        with contextlib.suppress(ChatError):
            await self._shared.settle()  # now, and not in the middle of the next leader's first second
        self._election.stop_listening()
        self._election.resign()

    async def _forward(self) -> float:
        """Until the line is lost, or at once if there is none to be had. Returns when to try again, in seconds."""
        again = random.uniform(0.0, AGAIN_SECONDS_MAX)
        try:
            connected = self._election.connect()
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            return again  # the leader is about to listen, or has just died, or takes nobody in
        self._refusal = ""
        line = Line(self, self._rules, self._forwarded)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=connected)
            await line.ended.wait()
        finally:
            if line is not self._line:
                line.cut("")  # closing; one that is not welcomed yet must not be any more
        if not self._refusal:
            return again
        self._log_once(logging.INFO, f"it takes turns: {self._refusal}")
        return REFUSED_SECONDS

    def _log_once(self, level: int, what: str) -> None:
        if what != self._last_logged:
            logger.log(level, "of the processes that share the database, this one: %s", what)
        self._last_logged = what

    async def close(self) -> None:
        """Give up leading or forwarding in good order: what is under way is answered. This process writes by itself
        from then on."""
        self._is_closing = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._stop_leading()
        line = self._line
        if line is not None:
            self.leaving(line)
            line.leave()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS_MAX):
                    await line.ended.wait()
            line.cut("")
        self._election.close()
