"""`python -m tests.doomed MOMENT`: `chatd serve` that kills itself (SIGKILL) at one moment in the life of the first
message. The moments are between steps of the program that no signal from outside could hit."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any

from chatd.__main__ import main
from chatd.dispatch.door import Dispatch
from chatd.store.sqlite_transaction import WriteTransaction
from chatd.store.sqlite_writer import Outcome, Waiting, Writer

FLUSHED_SECONDS = 0.3
"""After so long what was written to a socket of this machine has arrived."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _brings_a_message(outcomes: list[Outcome]) -> bool:
    return any("message_sent" in repr(result) for _, result, _ in outcomes)


def before_the_commit() -> None:
    """The job has run; its transaction is open."""
    commit = Writer._commit

    def doomed(self: Writer, batch: list[Waiting]) -> list[Outcome]:
        def dying(job: Any) -> Any:
            async def run(tx: Any) -> Any:
                result = await job(tx)
                if "message_sent" in repr(result):
                    die()
                return result

            return run

        return commit(self, [(dying(job), done) for job, done in batch])

    Writer._commit = doomed  # type: ignore[method-assign]


def after_the_commit() -> None:
    """The writer's thread has committed, and nobody has been told."""
    commit = Writer._commit

    def doomed(self: Writer, batch: list[Waiting]) -> list[Outcome]:
        outcomes = commit(self, batch)
        if _brings_a_message(outcomes):
            die()
        return outcomes

    Writer._commit = doomed  # type: ignore[method-assign]


def after_the_answer() -> None:
    """The sender has the answer; nobody has been told of the event."""
    publish = Dispatch._publish_committed

    def doomed(self: Dispatch) -> None:
        if any("message_sent" in repr(one) for recorded in self._committed.values() for one in recorded):
            asyncio.get_running_loop().call_later(FLUSHED_SECONDS, die)
        else:
            publish(self)

    Dispatch._publish_committed = doomed  # type: ignore[method-assign]


def while_the_journal_is_settled() -> None:
    """What the message has changed is carried out, and the transaction that does so is open."""
    settle = WriteTransaction.settle

    def doomed(self: WriteTransaction, rows_max: int | None = None) -> None:
        brings = any("message_sent" in repr(entry.put_off) for entry in self._journal._entries)
        settle(self, rows_max)
        if brings:
            # Its sender has been answered by now.
            threading.Timer(FLUSHED_SECONDS, die).start()
            threading.Event().wait()

    WriteTransaction.settle = doomed  # type: ignore[method-assign]


MOMENTS = {
    "before-the-commit": before_the_commit,
    "after-the-commit": after_the_commit,
    "while-the-journal-is-settled": while_the_journal_is_settled,
    "after-the-answer": after_the_answer,
}

if __name__ == "__main__":
    MOMENTS[sys.argv[1]]()
    sys.argv[1:] = ["serve"]
    main()
