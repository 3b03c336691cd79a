"""`Dispatch`: a command comes in, and when it is on the disk its sender is answered and everyone else is told.

1. The command's handler runs in one transaction: it loads, decides and records. The answer is stored with it under the
   sender's id of the command, so a repeat finds the first answer and changes nothing (G2). Marks are not stored: they
   never move backwards, so repeating one is harmless by itself.
2. After the commit, and never before, the sender is answered (G1), then the events go to the bus. All that one commit
   brought leaves in one publication a shop, in the order of the numbers.
3. If the process dies between commit and publication, nothing is lost: followers on other nodes see the hole by the
   next number or by the position check, and the sender repeats the command and gets its first answer.
4. If the store cannot say whether it has committed, the sender is told to try again, and `in_doubt(shop)` is called:
   there may be events by now that nobody has published, for the repeat finds an answer and records nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import text

from chatd.dispatch import conversations, mails, people, queries, topics
from chatd.dispatch.work import Circumstances, Work
from chatd.domain.commands import (
    AddTopic,
    CloseConversations,
    Command,
    CountTopics,
    DropMail,
    Fact,
    Introduce,
    ListConversations,
    LoadConversation,
    LoadHistory,
    MarkDelivered,
    MarkSeen,
    OpenConversations,
    Query,
    RecordMember,
    RecordPresence,
    RecordSession,
    RecordTopics,
    RemoveTopic,
    RetryMail,
    SendMessage,
    SettleMail,
    UpdateCart,
)
from chatd.domain.people import Actor
from chatd.errors import ChatError, Conflict, Temporary
from chatd.live.bus import Publication
from chatd.store import results
from chatd.store.contract import ConstraintBroken, Job, OutcomeUnknown, Statement, Store, Transaction
from chatd.store.log import Recorded

logger = logging.getLogger("chatd.dispatch")

Publish = Callable[[str, Sequence[Publication]], None]
Answer = Callable[[bytes | None, ChatError | None], None]
Handler = Callable[[Work, Actor, Any], Awaitable[dict[str, Any]]]
Done = tuple[bytes, list[Recorded]]
"""What a job has come to: the result as JSON, and the events that it has led to."""

HANDLERS: dict[type[Command], Handler] = {
    SendMessage: conversations.send_message,
    MarkSeen: conversations.mark_seen,
    MarkDelivered: conversations.mark_delivered,
    CloseConversations: conversations.close_conversations,
    OpenConversations: conversations.open_conversations,
    AddTopic: topics.add_topic,
    RemoveTopic: topics.remove_topic,
    Introduce: people.introduce,
    UpdateCart: people.update_cart,
}
QUERIES: dict[type[Query], Callable[[Transaction, Actor, Any], Awaitable[dict[str, Any]]]] = {
    LoadHistory: queries.load_history,
    LoadConversation: queries.load_conversation,
    ListConversations: queries.list_conversations,
    CountTopics: queries.count_topics,
}
RECORDERS: dict[type[Fact], Callable[[Work, Any], Awaitable[bool | None]]] = {
    RecordPresence: people.record_presence,
    RecordMember: people.record_member,
    RecordSession: people.record_session,
    SettleMail: mails.settle_mail,
    RetryMail: mails.retry_mail,
    DropMail: mails.drop_mail,
    RecordTopics: topics.record_topics,
}
COUNTED = b"true"
MONOTONIC: frozenset[type[Command]] = frozenset((MarkSeen, MarkDelivered))

_encoder = msgspec.json.Encoder()
_one = Statement(text("SELECT 1"))


class Dispatch:
    """See the module's text. `publish(shop, publications)` and `in_doubt(shop)` must not block; they are called on the
    event loop."""

    is_overlooked = False
    """Whether another process may write for all that share the database and not know of this one: then nobody tells it
    what is committed, and it has to look in the log."""

    def __init__(
        self,
        store: Store,
        publish: Publish,
        circumstances: Circumstances,
        *,
        in_doubt: Callable[[str], None] = lambda shop: None,
    ) -> None:
        self._store = store
        self._publish = publish
        self._in_doubt = in_doubt
        self._circumstances = circumstances
        self._committed: dict[str, list[Recorded]] = {}
        self._watchers: list[Callable[[str, Recorded], None]] = []

    @property
    def circumstances(self) -> Circumstances:
        return self._circumstances

    def watch(self, watcher: Callable[[str, Recorded], None]) -> None:
        """Have `watcher(shop, recorded)` called on the loop for each event that this process commits."""
        self._watchers.append(watcher)

    def start(self) -> None:
        """The store is open, and everybody who is to be told is there."""

    async def close(self) -> None:
        """Before the store is closed."""

    def submit(self, actor: Actor, command: Command, answer: Answer) -> None:
        """Carry the command out. `answer(result, error)` is called once, on the loop: the result as JSON after the
        commit, or why it was refused. Never raises, never blocks."""
        self._carry_out(actor.shop, self._job_of(actor, command), command, answer)

    def _job_of(self, actor: Actor, command: Command) -> Job[Done]:
        handler = HANDLERS.get(type(command))
        circumstances = self._circumstances
        stored = type(command) not in MONOTONIC

        async def job(tx: Transaction) -> Done:
            if stored:
                first = await results.find_result(tx, actor.shop, actor.id, command.id)
                if first is not None:
                    return first, []
            work = Work(tx, actor.shop, circumstances)
            assert handler is not None, f"no handler for {type(command).__name__}"
            result = _encoder.encode(await handler(work, actor, command))
            if stored:
                results.keep_result(tx, actor.shop, actor.id, command.id, at=work.now, result=result)
            return result, work.recorded

        return job

    def _carry_out(self, shop: str, job: Job[Done], wish: Command | Fact, answer: Answer) -> None:
        def done(outcome: Done | None, error: BaseException | None) -> None:
            # Told here and not after an await: the order of the commits is the order of the publications.
            if outcome is None:
                answer(None, self._refuse(shop, error, type(wish).__name__))
                return
            result, recorded = outcome
            self._tell(shop, recorded)
            answer(result, None)

        try:
            self._store.submit(job, done, shop=shop)
        except ChatError as refusal:
            answer(None, refusal)

    async def execute(self, actor: Actor, command: Command) -> Any:
        """`submit`, awaited: the result as an object, or raises the `ChatError`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(result: bytes | None, error: ChatError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(msgspec.json.decode(result or b"null"))

        self.submit(actor, command, answer)
        return await future

    async def record(self, shop: str, fact: Fact) -> bool:
        """What chatd itself has noticed or was told by the shop. Returns whether it counted: False when somebody else
        has been faster (`RecordTopics`). Raises `ChatError` when it could not be stored."""
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def answer(counted: bytes | None, error: ChatError | None) -> None:
            if told.done():
                return
            if error is not None:
                told.set_exception(error)
            else:
                told.set_result(counted == COUNTED)

        self._note(shop, fact, answer)
        return await told

    def _note(self, shop: str, fact: Fact, answer: Answer) -> None:
        """`submit` for a fact: the result is `COUNTED`, or anything else."""
        self._carry_out(shop, self._job_of_fact(shop, fact), fact, answer)

    def _job_of_fact(self, shop: str, fact: Fact) -> Job[Done]:
        async def job(tx: Transaction) -> Done:
            work = Work(tx, shop, self._circumstances)
            counted = await RECORDERS[type(fact)](work, fact)
            return (b"false" if counted is False else COUNTED), work.recorded

        return job

    async def ask(self, actor: Actor, query: Query) -> dict[str, Any]:
        """Answer a query. Raises `ChatError`."""

        async def job(tx: Transaction) -> dict[str, Any]:
            return await QUERIES[type(query)](tx, actor, query)

        return await self._store.read(job)

    async def check(self) -> None:
        """Raises `ChatError` when what was submitted now would not be committed."""

        async def job(tx: Transaction) -> None:
            await tx.one(_one)

        await self._store.write(job)

    async def forget_results(self, *, before: int) -> None:
        """Drop the stored answers older than this (milliseconds): their senders have long stopped repeating."""

        async def job(tx: Transaction) -> int:
            return await results.forget_results(tx, before=before)

        await self._store.write(job)

    def _refuse(self, shop: str, error: BaseException | None, name: str) -> ChatError:
        if isinstance(error, OutcomeUnknown):
            self._in_doubt(shop)
        return _refusal(error, name)

    def _tell(self, shop: str, recorded: list[Recorded]) -> None:
        """Publish at the end of this turn of the loop, together with all else that the commit brought."""
        if not recorded:
            return
        if not self._committed:
            asyncio.get_running_loop().call_soon(self._publish_committed)
        self._committed.setdefault(shop, []).extend(recorded)

    def _publish_committed(self) -> None:
        committed, self._committed = self._committed, {}
        for shop, recorded in committed.items():
            # Answers of one batch come in the order of their commands; numbers were given in that order, too. Only
            # what two store calls brought in the same turn could stand the other way round.
            if len(recorded) > 1:
                recorded.sort(key=_number)
            self._publish(shop, [as_publication(one) for one in recorded])
            for watcher in self._watchers:
                for one in recorded:
                    try:
                        watcher(shop, one)
                    except Exception:
                        logger.exception("a watcher of committed events failed")


def as_publication(recorded: Recorded) -> Publication:
    """A committed event as the bus carries it."""
    return Publication(
        recorded.number, recorded.customer_number, recorded.customer, recorded.conversation, recorded.record
    )


def _number(recorded: Recorded) -> int:
    return recorded.number


def _refusal(error: BaseException | None, name: str) -> ChatError:
    """What the sender is told. A fault of chatd's own is logged here, once, and told without its insides."""
    if isinstance(error, ChatError):
        return error
    if isinstance(error, ConstraintBroken):
        return Conflict("somebody else did the same at the same moment; try again")
    logger.error("%s failed", name, exc_info=error)
    return Temporary("chatd could not do this; nothing was changed")
