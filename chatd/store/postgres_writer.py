"""Writing to PostgreSQL: group commit in several lanes, each a connection of its own.

Rules, each of which a test tries to break:

1. Jobs of one shop take turns. On this node a shop is in one lane at a time; between nodes the transaction locks the
   rows of its shops before it reads anything. They are locked in the order of their ids and before all else, so two
   transactions never wait for each other in a circle.
2. A lane that becomes free takes its share of whatever has arrived, runs the jobs in one transaction and commits once.
   So a sync is shared by many under load, and idle, a job waits for nobody.
3. The jobs of a batch run together at first, optimistic and without savepoints, and what they write later goes in one
   trip for each statement. When a constraint is broken, mostly by somebody who repeats a command, the batch is undone
   and run again with jobs that look first. When one breaks then, or a job raises after it has written, it is run job by
   job, each within its own savepoint, so that what one has done wrong stays its own.
4. Nobody hears of a success before the server has said `COMMIT`. A transaction that a job has broken is answered with
   `ROLLBACK` and no error; that is one, too.
5. When the connection is lost before the commit was sent, nothing has happened, and the jobs are run again until they
   are `PATIENCE_SECONDS` old: a restart of the server is a pause. When it is lost after that, nobody knows: the jobs
   get `OutcomeUnknown` and are not run again.
6. When the database has been away for longer than that, each job is tried once and refused at once: clients that wait
   for seconds, each, help nobody.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import Table, text

from chatd.errors import StoreUnavailable, Temporary
from chatd.store.contract import ConstraintBroken, Done, Job, OutcomeUnknown, Row, Statement
from chatd.store.memory import Memory
from chatd.store.postgres_link import FAILURES, Link, connect, explain, is_lost, is_own_fault, is_passing

BATCH_JOBS_MAX = 200  # the shops of a batch are locked for as long as it takes
QUEUE_JOBS_MAX = 20_000
CROWD_JOBS = 16
PATIENCE_SECONDS = 5.0
CLOSE_SECONDS = 5.0
MEMORY_SECONDS = 60.0  # so long what somebody changes by hand, without writing the row of the shop, may go unnoticed
MEMORIES_MAX = 100
RETRY_SECONDS_MIN = 0.02
RETRY_SECONDS_MAX = 0.5

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
# NO KEY: a row that refers to the shop (a new customer's) may be written beside it. Writing the row anew leaves in its
# `xmin` which transaction was the last to write about the shop, on any node: what this one remembers from then is true.
_lock_shops = Statement(
    text(
        "WITH held AS (SELECT id, xmin FROM shops WHERE id = ANY(:shops) ORDER BY id FOR NO KEY UPDATE)"
        " UPDATE shops SET head = head FROM held WHERE shops.id = held.id"
        " RETURNING held.xmin::text::bigint AS before, shops.xmin::text::bigint AS now"
    )
)

logger = logging.getLogger("chatd.store")


class _Entry(msgspec.Struct, eq=False):
    """A job that waits. `since`: when it was submitted, on the loop's clock."""

    job: Job[Any]
    done: Done
    shop: str | None
    since: float


Outcome = tuple[_Entry, Any, BaseException | None]


class WriteTransaction:
    """Statements of the jobs of a batch. `has_written` is the writer's to set back."""

    __slots__ = ("_link", "_memory", "_put_off", "has_written", "optimistic")

    def __init__(self, link: Link, memory: Memory, *, optimistic: bool) -> None:
        self._link = link
        self._memory = memory
        self._put_off: dict[Statement, dict[Hashable, dict[str, Any]]] = {}
        self.optimistic = optimistic
        self.has_written = False

    async def _prepare(self, statement: Statement) -> None:
        if self._put_off:
            await self.write_out()
        if statement.writes:
            self.has_written = True
            if statement.changes is not None:
                self._memory.forget(statement.changes)

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        await self._prepare(statement)
        return await self._link.one(statement, parameters)

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        await self._prepare(statement)
        return await self._link.all(statement, parameters)

    async def run(self, statement: Statement, **parameters: Any) -> int:
        await self._prepare(statement)
        return await self._link.run(statement, parameters)

    def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        self.has_written = True
        rows = self._put_off.setdefault(statement, {})
        if statement.unique and key in rows:
            raise ConstraintBroken("a row that may be there once was put off twice")
        rows[len(rows) if key is None else key] = parameters

    def recall(self, table: Table, key: Hashable) -> Any:
        return self._memory.recall(table.name, key)

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        self._memory.remember(table.name, key, value)

    async def write_out(self) -> None:
        """Do what was put off: one trip to the server for each statement, whatever number of jobs it is of."""
        put_off, self._put_off = self._put_off, {}
        for statement, rows in put_off.items():
            await self._link.run_many(statement, rows.values())

    def forget(self) -> None:
        """The database has been taken back to an earlier point."""
        self._put_off.clear()
        self._memory.forget()


class _RunAgain(Exception):
    """A transaction was undone, to be run again with more care."""

    def __init__(self, care: int) -> None:
        super().__init__()
        self.care = care


TOGETHER, LOOKING, APART = range(3)
"""How much care a transaction takes: see rule 3."""


class Writer:
    """See the module's text. `lanes`: how many connections it may use. `gather_seconds`: how long a lane waits for
    company under load."""

    def __init__(self, url: str, *, lanes: int, gather_seconds: float = 0) -> None:
        self._url = url
        self._lanes = lanes
        self._gather_seconds = gather_seconds
        self._of_shop: dict[str, deque[_Entry]] = {}  # in the order in which shops began to wait
        self._loose: deque[_Entry] = deque()
        self._loose_turn = True
        self._waiting = 0
        self._busy: set[str] = set()
        self._working = 0
        self._idle: deque[asyncio.Future[None]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._down_since: float | None = None
        self._memories: dict[str, Memory] = {}
        self._remembered_since = 0.0
        self.batches = 0
        self.jobs = 0

    @property
    def is_down(self) -> bool:
        """Whether the database has been away for longer than anybody waits for it (rule 6)."""
        return self._down_since is not None and asyncio.get_running_loop().time() > self._down_since + PATIENCE_SECONDS

    def start(self, link: Link) -> None:
        """Begin with this connection; the other lanes make theirs when they are needed."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._lane(None if index else link)) for index in range(self._lanes)]

    def submit(self, job: Job[Any], done: Done, shop: str | None) -> None:
        if self._closing:
            raise StoreUnavailable("not stored: chatd is shutting down; try again")
        if self._waiting >= QUEUE_JOBS_MAX:
            raise Temporary(f"{QUEUE_JOBS_MAX} writes are waiting already; try again")
        entry = _Entry(job, done, shop, asyncio.get_running_loop().time())
        if shop is None:
            self._loose.append(entry)
        else:
            self._of_shop.setdefault(shop, deque()).append(entry)
        self._waiting += 1
        self._wake_one()

    async def close(self) -> None:
        """Finish what is queued, as far as the database lets it; what is left after `CLOSE_SECONDS` is told so."""
        self._closing = True
        while self._idle:
            self._wake_one()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        refusal = StoreUnavailable("not stored: chatd is shutting down; try again")
        left = [*self._loose, *(entry for entries in self._of_shop.values() for entry in entries)]
        _hand_back((entry, None, refusal) for entry in left)

    # ------------------------------------------------------------------ lanes

    def _wake_one(self) -> None:
        while self._idle:
            place = self._idle.popleft()
            if not place.done():
                place.set_result(None)
                return

    async def _lane(self, link: Link | None) -> None:
        crowded = False
        while True:
            batch = self._take()
            if not batch:
                if self._closing and not self._waiting:
                    break
                place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(place)
                await place
                # Waiting for company pays only where there was a crowd just now: a few messages wait for nobody.
                if crowded and self._gather_seconds and not self._closing:
                    await asyncio.sleep(self._gather_seconds)
                continue
            crowded = len(batch) >= CROWD_JOBS
            shops = sorted({entry.shop for entry in batch if entry.shop is not None})
            self._busy.update(shops)
            self._working += 1
            if self._waiting:
                self._wake_one()
            try:
                link = await self._carry_out(batch, shops, link)
            except Exception as error:
                logger.exception("a batch of %d writes was undone", len(batch))
                link = None
                _hand_back((entry, None, explain(error)) for entry in batch)
            finally:
                self._working -= 1
                self._busy.difference_update(shops)
        self._wake_one()  # who sleeps while this one was the last to work would sleep for ever
        if link is not None:
            await link.close()

    def _take(self) -> list[_Entry]:
        """This lane's share of what can be done now: one job of no shop, or jobs of shops that no other lane is at."""
        ready = [shop for shop in self._of_shop if shop not in self._busy]
        if self._loose and (self._loose_turn or not ready):
            self._loose_turn = False
            self._waiting -= 1
            return [self._loose.popleft()]
        self._loose_turn = True
        count = sum(len(self._of_shop[shop]) for shop in ready)
        share = min(BATCH_JOBS_MAX, -(-count // max(1, self._lanes - self._working)))
        batch: list[_Entry] = []
        for shop in ready:
            entries = self._of_shop[shop]
            while entries and len(batch) < BATCH_JOBS_MAX:
                batch.append(entries.popleft())
            if not entries:
                del self._of_shop[shop]
            if len(batch) >= share:
                break
        self._waiting -= len(batch)
        return batch

    # ------------------------------------------------------------------ batches

    async def _carry_out(self, batch: list[_Entry], shops: list[str], link: Link | None) -> Link | None:
        """Until every job of the batch has been told. Returns the connection, if it is of any more use."""
        pause = RETRY_SECONDS_MIN
        care = TOGETHER
        while True:
            try:
                if link is None or not link.is_open:
                    link = await connect(self._url)
                async with link.watched():
                    outcomes = await _attempt(link, batch, shops, self._memory_of(shops), care)
            except _RunAgain as again:
                self._memories.clear()
                care = again.care
                continue
            except OutcomeUnknown as unknown:
                self._memories.clear()
                logger.error("the database was lost during the commit of %d writes: %s", len(batch), unknown)
                _cut(link)
                _hand_back((entry, None, unknown) for entry in batch)
                return None
            except (StoreUnavailable, *FAILURES) as error:
                # Also of other shops: on a server that took the place of another, numbers of transactions come again.
                self._memories.clear()
                _cut(link)
                link = None
                if not self._may_try_again(error, batch, pause):
                    refusal = error if isinstance(error, StoreUnavailable) else explain(error)
                    logger.error("a batch of %d writes was undone: %s", len(batch), refusal.facts.get("reason"))
                    _hand_back((entry, None, refusal) for entry in batch)
                    return None
            else:
                self._down_since = None
                self.batches += 1
                self.jobs += len(batch)
                _hand_back(outcomes)
                return link
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    def _memory_of(self, shops: list[str]) -> Memory:
        """What is remembered of the shop from transaction to transaction; of several at once nothing is."""
        now = asyncio.get_running_loop().time()
        if now > self._remembered_since + MEMORY_SECONDS or len(self._memories) > MEMORIES_MAX:
            self._memories.clear()
            self._remembered_since = now
        if len(shops) != 1:
            return Memory()
        return self._memories.setdefault(shops[0], Memory())

    def _may_try_again(self, error: BaseException, batch: list[_Entry], pause: float) -> bool:
        """Rules 5 and 6."""
        now = asyncio.get_running_loop().time()
        began = min(entry.since for entry in batch)
        if isinstance(error, StoreUnavailable) or is_lost(error):
            self._down_since = now if self._down_since is None else self._down_since
            began = min(began, self._down_since)
        elif not is_passing(error):
            return False
        return not self._closing and now + pause < began + PATIENCE_SECONDS


async def _attempt(link: Link, batch: list[_Entry], shops: list[str], memory: Memory, care: int) -> list[Outcome]:
    """One transaction with all of the batch. Raises `_RunAgain`, `OutcomeUnknown`, or what the driver raises; then
    nothing was committed."""
    await link.execute(BEGIN)
    versions = await link.all(_lock_shops, {"shops": shops}) if shops else []
    if len(versions) == 1:
        memory.begin(versions[0]["before"])
    else:
        memory.forget()
    transaction = WriteTransaction(link, memory, optimistic=care == TOGETHER)
    if care == APART:
        outcomes = await _run_apart(link, transaction, batch)
    else:
        try:
            outcomes = await _run_together(transaction, batch)
        except _RunAgain:
            await link.execute("ROLLBACK")
            raise
        except FAILURES as error:
            if not is_own_fault(error):
                raise
            await link.execute("ROLLBACK")
            is_new = care == TOGETHER and isinstance(error, asyncpg.IntegrityConstraintViolationError)
            raise _RunAgain(LOOKING if is_new else APART) from error
    await _commit(link)
    if len(versions) == 1:
        memory.committed(versions[0]["now"])
    return outcomes


async def _run_together(transaction: WriteTransaction, batch: list[_Entry]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for entry in batch:
        transaction.has_written = False
        try:
            outcomes.append((entry, await entry.job(transaction), None))
        except FAILURES:
            raise
        except Exception as error:
            if transaction.has_written:
                raise _RunAgain(APART) from error
            outcomes.append((entry, None, error))  # most refusals: there is nothing to undo
    await transaction.write_out()
    return outcomes


async def _run_apart(link: Link, transaction: WriteTransaction, batch: list[_Entry]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for entry in batch:
        await link.execute("SAVEPOINT job")
        try:
            result = await entry.job(transaction)
            await transaction.write_out()
            await link.execute("RELEASE SAVEPOINT job")
        except Exception as error:
            if isinstance(error, FAILURES) and not is_own_fault(error):
                raise
            transaction.forget()
            await link.execute("ROLLBACK TO SAVEPOINT job")
            await link.execute("RELEASE SAVEPOINT job")
            outcomes.append((entry, None, _told(error)))
        else:
            outcomes.append((entry, result, None))
    return outcomes


async def _commit(link: Link) -> None:
    """Rule 4."""
    try:
        status = await link.execute("COMMIT")
    except FAILURES as error:
        if not is_lost(error):
            raise
        raise OutcomeUnknown(
            "it is not known whether this was stored; try again", reason="the database was lost during the commit"
        ) from error
    if status != "COMMIT":
        raise _RunAgain(APART)


def _told(error: Exception) -> BaseException:
    """What the owner of a job hears of its own error."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        broken = ConstraintBroken(str(error))
        broken.__cause__ = error
        return broken
    if isinstance(error, FAILURES):
        logger.error("the database refused a statement", exc_info=error)
        return explain(error)
    return error


def _cut(link: Link | None) -> None:
    if link is not None:
        link.cut()


def _hand_back(outcomes: Iterable[Outcome]) -> None:
    for entry, result, error in outcomes:
        try:
            entry.done(result, error)
        except Exception:
            logger.exception("a write was settled, but telling so failed")
