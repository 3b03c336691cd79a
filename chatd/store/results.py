"""What commands were acknowledged with, under their senders' own ids: a repeat finds the first answer (G2)."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select

from chatd.store.contract import Statement, Transaction
from chatd.store.schema import results

_find = Statement(
    select(results.c.result).where(
        results.c.shop_id == bindparam("shop"),
        results.c.actor_id == bindparam("actor"),
        results.c.client_id == bindparam("client_id"),
    )
)
_keep = Statement(insert(results), sure=True, unique=("shop_id", "actor_id", "client_id"))
_forget = Statement(delete(results).where(results.c.at < bindparam("before")))


async def find_result(tx: Transaction, shop: str, actor: str, client_id: str) -> bytes | None:
    """The first answer, as JSON. An optimistic job looks in memory only: `keep_result` finds out about the rest."""
    known: bytes | None = tx.recall(results, (shop, actor, client_id))
    if known is not None or tx.optimistic:
        return known
    row = await tx.one(_find, shop=shop, actor=actor, client_id=client_id)
    return None if row is None else row["result"].encode()


def keep_result(tx: Transaction, shop: str, actor: str, client_id: str, *, at: int, result: bytes) -> None:
    """The schema holds one for each id: a second one breaks its constraint."""
    key = (shop, actor, client_id)
    tx.later(_keep, key, shop_id=shop, actor_id=actor, client_id=client_id, at=at, result=result.decode())
    tx.remember(results, key, result)


async def forget_results(tx: Transaction, *, before: int) -> int:
    """Drop those that are older than this (milliseconds). Returns how many went."""
    return await tx.run(_forget, before=before)
