"""The topic finder: has the classifier read what customers write, in the background, and records what it is certain of.

1.  *The chat only notes.* A committed message costs its sender's process one entry in a set (`note`). Everything else
    happens here: reading on from the shop's mark, up to `MESSAGES_MAX` messages at once; asking the worker, which is
    another process with less right to the processor; recording through the door.
2.  *Once, and none forgotten.* The log is the queue and the shop's mark the place in it. What was found and the mark
    that moves past it are one transaction, and the mark moves only from where was read. So a crash at any point means
    reading again, never telling twice, and of several processes that have read the same messages one records.
3.  *Behind is not in the way.* A burst waits in the log and not in memory. Batches grow by themselves while the worker
    is busy; one batch is under way, shops take turns, and the chat's own commits go between.
4.  *Every process looks around* each `LOOK_SECONDS` for shops whose log goes on beyond their mark: those of a process
    that died, or of one that finds no topics. That nothing was found in a message costs no commit of its own: it is
    written down at the next look, so that a server which starts anew has nothing to read again.
5.  *A worker that fails* is tried again, ever more seldom. A batch that it failed at twice is tried message by message;
    a message that it fails at again and again, while it reads others, is passed over and told in the log by its number.

The worker starts with the first message there is to read, so a server without customers does without it. Rules are in
`domain.topics`, the mark in `store.topics`, the classifier in `chatd.topics`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from chatd.domain.commands import MessageTopics, RecordTopics
from chatd.errors import ChatError, Temporary
from chatd.metrics import Metrics
from chatd.store.contract import Store
from chatd.store.topics import Read, Unread, find_behind, read_unread
from chatd.topics.names import TopicScore

MESSAGES_MAX = 64
RECORDED_AT_ONCE = 16  # a transaction stays short: the shop's next message waits behind it
LOOK_SECONDS = 10.0
AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
OVERTAKEN_SECONDS = 0.15  # at most so long, by chance, until a shop is looked at again that another process reads, too
WRITTEN_AT_ONCE = 64
WHOLE_TRIES = 2
SINGLE_TRIES = 3
PROBE = "hello"

logger = logging.getLogger("chatd.notify.topics")

Record = Callable[[str, RecordTopics], Awaitable[bool]]


class Classifier(Protocol):
    """What reads messages: `chatd.topics.worker.TopicWorker`."""

    async def label(self, messages: Sequence[tuple[str, str | None]]) -> list[list[TopicScore]]:
        """The topics of each. Raises `Temporary`."""

    async def stop(self) -> None: ...


class TopicFinder:
    """See the module's text. `record(shop, fact)` goes through the door and tells whether it counted."""

    def __init__(
        self,
        store: Store,
        *,
        worker: Classifier,
        record: Record,
        clock: Callable[[], int],
        metrics: Metrics | None = None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._worker = worker
        self._record = record
        self._clock = clock
        self._look_seconds = look_seconds
        self._waiting: dict[str, None] = {}  # shops with something to read, in their turn
        self._silent: dict[str, int] = {}  # up to where there was nothing to find, although the mark is not there yet
        self._unwritten: dict[str, int] = {}  # those of them where messages were read, with their marks
        self._wake = asyncio.Event()
        self._one_by_one = 0  # so many messages singly, after a batch that failed
        self._failed_at: tuple[str, int] | None = None  # shop and number of the batch's first message
        self._failed_times = 0
        self._trouble: str | None = None
        metrics = metrics or Metrics()
        self._messages = metrics.counter(
            "chatd_topic_messages_total", "Customers' messages read for topics: found, none, or unreadable."
        )
        self._seconds = metrics.histogram(
            "chatd_topic_seconds", "From a customer's message to the record of its topics."
        )

    def note(self, shop: str) -> None:
        """A customer of this shop has said something. Costs next to nothing."""
        self._waiting[shop] = None
        self._wake.set()

    def trouble(self) -> str | None:
        """Why no topics are found at present, or None."""
        return self._trouble

    async def run(self) -> None:
        """Find topics for ever, as a task. Does not end because of an error; when cancelled, the worker ends too."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        failures = 0
        try:
            while True:
                try:
                    if loop.time() >= look_at:
                        await self._look()
                        look_at = loop.time() + self._look_seconds
                    await self._turn()
                    failures, self._trouble = 0, None
                except Exception as error:  # noqa: BLE001 - a finder that ended would be missed by nobody, and for good
                    pause = AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)]
                    failures += 1
                    self._tell(error, pause)
                    await asyncio.sleep(pause)
                else:
                    await self._sleep(look_at - loop.time())
        finally:
            try:
                with contextlib.suppress(ChatError):
                    await self._write_down()
            finally:
                await self._worker.stop()

    async def _sleep(self, seconds: float) -> None:
        """Until there is something to read, or for so long."""
        if self._waiting:
            return
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._wake.wait()

    def _tell(self, error: Exception, pause: float) -> None:
        if not isinstance(error, ChatError):
            self._trouble = "topics are not found because of an error in chatd; see its log"
            logger.error("topics could not be found; trying again in %g s", pause, exc_info=error)
            return
        if self._trouble is None:
            logger.warning("no topics are found at present (%s); trying again in %g s", error.message, pause)
        self._trouble = f"no topics are found at present: {error.message}"

    # ------------------------------------------------------------ reading on

    async def _look(self) -> None:
        """Rule 4."""
        await self._write_down()
        for shop, head in (await self._store.read(find_behind)).items():
            if head > self._silent.get(shop, 0):
                self._waiting.setdefault(shop)

    async def _write_down(self) -> None:
        """Move the marks past messages in which nothing was found. If another process was faster, that is as well."""
        unwritten = list(self._unwritten.items())
        for start in range(0, len(unwritten), WRITTEN_AT_ONCE):
            some = unwritten[start : start + WRITTEN_AT_ONCE]
            facts = [(shop, RecordTopics(after=mark, upto=self._silent[shop], messages=[])) for shop, mark in some]
            await asyncio.gather(*(self._record(shop, fact) for shop, fact in facts))
            for shop, _ in some:
                self._known(shop)

    def _known(self, shop: str) -> None:
        """What was read of this shop stands in its mark."""
        self._silent.pop(shop, None)
        self._unwritten.pop(shop, None)

    async def _turn(self) -> None:
        """Read one batch, of as many shops as it takes, and record what is found. Who has more to read waits again."""
        most = 1 if self._one_by_one else MESSAGES_MAX
        taken: list[str] = []
        batch: list[tuple[str, Unread]] = []
        try:
            while self._waiting and most > 0:
                shop = next(iter(self._waiting))
                del self._waiting[shop]
                taken.append(shop)
                unread = await self._read(shop, most)
                if unread is None:
                    taken.remove(shop)
                elif unread.messages:
                    batch.append((shop, unread))
                    most -= len(unread.messages)
                else:
                    taken.remove(shop)
                    await self._keep(shop, unread, [])
            await self._find(batch)
        except BaseException:
            for shop in taken:
                self._waiting.setdefault(shop)
            raise

    async def _read(self, shop: str, most: int) -> Unread | None:
        """The next messages of this shop. Where only staff have spoken is passed by at once."""
        while True:
            known = self._silent.get(shop, 0)
            unread = await self._store.read(partial(read_unread, shop=shop, known=known, most=most))
            if unread is None or unread.messages or not unread.more:
                return unread
            self._silent[shop] = unread.upto

    async def _find(self, batch: Sequence[tuple[str, Unread]]) -> None:
        messages = [message for _, unread in batch for message in unread.messages]
        if not messages:
            return
        try:
            # The language is left to the classifier: that of a customer's browser is not always what they write in.
            found = await self._worker.label([(message.text, None) for message in messages])
        except Temporary:
            if not await self._is_unreadable(batch[0][0], messages):
                raise
            logger.warning("the message with the number %d cannot be read for topics", messages[0].number)
            self._messages.add(1, result="unreadable")
            found = [[]]
        else:
            for topics in found:
                self._messages.add(1, result="found" if topics else "none")
        self._one_by_one = max(0, self._one_by_one - len(messages))
        topics_of = iter(found)
        for shop, unread in batch:
            await self._keep(shop, unread, [next(topics_of) for _ in unread.messages])

    async def _is_unreadable(self, shop: str, messages: Sequence[Read]) -> bool:
        """Rule 5. Whether it is this one message, and not the worker."""
        place = (shop, messages[0].number)
        self._failed_times = self._failed_times + 1 if place == self._failed_at else 1
        self._failed_at = place
        if len(messages) > 1:
            if self._failed_times >= WHOLE_TRIES:
                self._one_by_one, self._failed_times = len(messages), 0
            return False
        if self._failed_times < SINGLE_TRIES:
            return False
        with contextlib.suppress(Temporary):
            await self._worker.label([(PROBE, None)])
            return True
        return False

    async def _keep(self, shop: str, unread: Unread, found: Sequence[Sequence[TopicScore]]) -> None:
        """Record it. Where nothing was found it is enough to know that here for a while."""
        mark = unread.mark
        told = [(message, topics) for message, topics in zip(unread.messages, found, strict=True) if topics]
        for start in range(0, len(told), RECORDED_AT_ONCE):
            some = told[start : start + RECORDED_AT_ONCE]
            upto = unread.upto if start + len(some) == len(told) else some[-1][0].number
            if not await self._record(
                shop, RecordTopics(after=mark, upto=upto, messages=[_facts(*one) for one in some])
            ):
                return self._overtaken(shop)
            mark = upto
            for message, _ in some:
                self._seconds.observe(max(0, self._clock() - message.at) / 1_000)
        if mark == unread.upto:
            self._known(shop)
        else:
            self._silent[shop] = unread.upto
            if unread.messages or shop in self._unwritten:
                self._unwritten[shop] = mark
        if unread.more:
            self.note(shop)
        return None

    def _overtaken(self, shop: str) -> None:
        """Another process reads this shop, too, and was faster. It may not have come as far."""
        self._known(shop)
        asyncio.get_running_loop().call_later(random.uniform(0, OVERTAKEN_SECONDS), self.note, shop)


def _facts(message: Read, topics: Sequence[TopicScore]) -> MessageTopics:
    return MessageTopics(
        conversation=message.conversation,
        position=message.position,
        found=[(one.topic, one.score) for one in topics],
    )
