"""One connection to PostgreSQL: made with chatd's settings, its statements prepared once, its errors in plain words.

A link promises that whatever it is asked ends: the server gives up a statement, a wait for a lock and an idle
transaction after some seconds, and `watched` cuts the line when the server itself says nothing any more. What a link
does not know is when to try again: that is for the writer and the readers (`store.postgres`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from types import MappingProxyType
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from chatd.errors import StoreUnavailable, Temporary
from chatd.store.contract import Row, Statement

VERSION_MIN = 14
CONNECT_SECONDS = 5.0
STATEMENT_MILLISECONDS = 8_000
LOCK_MILLISECONDS = 6_000
IDLE_IN_TRANSACTION_MILLISECONDS = 5_000  # a node that was stopped in the middle of a commit holds up nobody for longer
ANSWER_SECONDS = 10.0  # for all of one transaction; longer than any of the above, which say more
LEND_SECONDS = 10.0
STATEMENTS_PREPARED_MAX = 1_000

SERVER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "application_name": "chatd",
        "statement_timeout": str(STATEMENT_MILLISECONDS),
        "lock_timeout": str(LOCK_MILLISECONDS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MILLISECONDS),
        "jit": "off",  # compiling a query takes longer than any of ours does
    }
)

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

# Class 08, 57P0x: the server or the way to it went away. 25P03: it gave up on us. 25006: it is no longer the primary.
# 40001, 40P01: whoever tries again gets through. 53300: no place for one more connection.
LOST_STATES = ("08", "57P", "25P03", "25006")
AGAIN_STATES = ("40001", "40P01", "53300", "55P03")

# Classes of states in which it is the database that fails, or the moment, and not what it was asked
# (PostgreSQL, Appendix A).
FAILING_CLASSES = ("08", "25006", "25P03", "40", "53", "55", "57", "58", "F0", "XX")

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "28P01": "the database refuses the password",
        "28": "the database refuses the login",
        "3D000": "there is no database of this name on the server",
        "42501": "the database does not permit this to chatd's user",
        "53100": "the database's disk is full",
        "53200": "the database is out of memory",
        "53300": "the database has no place for one more connection",
        "55P03": "the database is locked by another program",
        "57014": "the database took too long",
        "57P03": "the database is starting or stopping",
        "25006": "the database is read-only",
        "42P01": "the database lacks chatd's tables",
        "address": "an option in the database's address is unknown or has no such value",
    }
)


class _WrongAddress(Exception):
    sqlstate = "address"


def explain(error: BaseException) -> StoreUnavailable:
    """The refusal for a failed database: says what kind of failure, never an address, a password or a statement."""
    state = str(getattr(error, "sqlstate", "") or "")
    reason = next((text for prefix, text in REASONS.items() if state.startswith(prefix)), "")
    if not reason:
        if isinstance(error, TimeoutError):
            reason = "the database does not answer"
        elif isinstance(error, socket.gaierror):
            reason = "the database's host name is unknown"
        elif isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionError) and "SSL" in str(error)):
            reason = "the database's certificate or encryption is not as expected"
        elif isinstance(error, ConnectionRefusedError | FileNotFoundError):
            reason = "nothing listens at the database's address"
        elif is_lost(error):
            reason = "the database cannot be reached"
        else:
            reason = "the database failed"
    return StoreUnavailable(f"not stored: {reason}; try again", reason=reason)


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no more use."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(LOST_STATES) or is_outdated(error)
    return isinstance(error, FAILURES) and not is_own_fault(error)


def is_outdated(error: BaseException) -> bool:
    """Whether the schema has changed under a prepared statement: a newer chatd has migrated."""
    return isinstance(error, asyncpg.OutdatedSchemaCacheError | asyncpg.InvalidCachedStatementError)


def is_own_fault(error: BaseException) -> bool:
    """Whether the job's own words are to blame, and the database is well: they break a constraint, are no value of the
    column's type, or no SQL."""
    if isinstance(error, asyncpg.PostgresError):
        return not str(error.sqlstate or "").startswith(FAILING_CLASSES) and not is_outdated(error)
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def is_passing(error: BaseException) -> bool:
    """Whether the same may well succeed in a moment."""
    return is_lost(error) or str(getattr(error, "sqlstate", "") or "").startswith(AGAIN_STATES)


class Link:
    """See the module's text. Made by `connect`."""

    __slots__ = ("_connection", "_prepared")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._prepared: dict[Statement, tuple[PreparedStatement[Any], tuple[str, ...]]] = {}

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    @property
    def driver_connection(self) -> Any:
        """asyncpg's own, for whoever takes it over."""
        return self._connection

    def cut(self) -> None:
        """End it without a word. What is under way fails at once."""
        self._connection.terminate()

    async def close(self) -> None:
        """End it in good order, or by force when that takes too long."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self._connection.close(timeout=1.0)

    async def execute(self, sql: str) -> str:
        """Run a text as it is; returns what the server calls it (`COMMIT`)."""
        status: str = await self._connection.execute(sql)
        return status

    async def ask(self, sql: str, *parameters: Any) -> Any:
        """The first value of the first row."""
        return await self._connection.fetchval(sql, *parameters)

    async def _prepare(self, statement: Statement) -> tuple[PreparedStatement[Any], tuple[str, ...]]:
        if len(self._prepared) >= STATEMENTS_PREPARED_MAX:
            self._prepared.clear()  # never in the program, whose statements are counted; tests make their own
        sql, names = statement.for_postgres()
        found = self._prepared[statement] = (await self._connection.prepare(sql), names)
        return found

    async def one(self, statement: Statement, parameters: dict[str, Any]) -> Row | None:
        prepared, names = self._prepared.get(statement) or await self._prepare(statement)
        row: Row | None = await prepared.fetchrow(*[parameters[name] for name in names])
        return row

    async def all(self, statement: Statement, parameters: dict[str, Any]) -> list[Row]:
        prepared, names = self._prepared.get(statement) or await self._prepare(statement)
        rows: list[Row] = await prepared.fetch(*[parameters[name] for name in names])
        return rows

    async def run(self, statement: Statement, parameters: dict[str, Any]) -> int:
        prepared, names = self._prepared.get(statement) or await self._prepare(statement)
        await prepared.fetch(*[parameters[name] for name in names])
        count = prepared.get_statusmsg().rpartition(" ")[2]  # "UPDATE 3", "INSERT 0 1"
        return int(count) if count.isdecimal() else 0

    async def run_many(self, statement: Statement, rows: Collection[dict[str, Any]]) -> None:
        """The same statement for many rows, in one trip to the server."""
        prepared, names = self._prepared.get(statement) or await self._prepare(statement)
        await prepared.executemany([[row[name] for name in names] for row in rows])

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Cut the line when the block takes longer than `ANSWER_SECONDS`: a server that was stopped, or a network that
        swallows everything, gives no error. Nothing is cancelled: what waits gets the error of a lost connection."""
        timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.cut)
        try:
            yield
        finally:
            timer.cancel()


async def connect(url: str) -> Link:
    """A connection whose commits are on the disk when they return. Raises `StoreUnavailable`."""
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            server_settings=dict(SERVER_SETTINGS),
            target_session_attrs="read-write",  # of several hosts the one that is the primary now
            statement_cache_size=0,  # a link keeps its own
        )
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise StoreUnavailable(
            "not stored: the database is read-only; try again", reason="the database is read-only"
        ) from error
    except (*FAILURES, ValueError) as error:
        raise explain(_of_address(error)) from error
    try:
        found = await connection.fetchrow(
            "SELECT current_setting('synchronous_commit') AS synchronous_commit,"
            " current_setting('server_version_num')::int / 10000 AS version,"
            " current_setting('server_encoding') AS encoding"
        )
        if found["version"] < VERSION_MIN:
            raise StoreUnavailable(
                "not stored: the database is too old",
                reason=f"the server is PostgreSQL {found['version']}, chatd needs {VERSION_MIN} or newer",
            )
        if found["encoding"] != "UTF8":
            raise StoreUnavailable(
                "not stored: the database has another encoding",
                reason=f"its encoding is {found['encoding']}, chatd needs UTF8 (CREATE DATABASE … ENCODING 'UTF8')",
            )
        if found["synchronous_commit"] in ("off", "local"):
            await connection.execute("SET synchronous_commit = on")  # G1, whatever the server's own default
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        connection.terminate()
        raise explain(error) from error
    except StoreUnavailable:
        connection.terminate()
        raise
    return Link(connection)


def _of_address(error: BaseException) -> BaseException:
    """What only an address can cause, as one error. Options that asyncpg does not know it hands to the server."""
    is_one = isinstance(error, asyncpg.UndefinedObjectError | asyncpg.InvalidParameterValueError | ValueError)
    return _WrongAddress() if is_one and not isinstance(error, OSError) else error


class Links:
    """Some connections that are lent out. One is made when it is needed, up to `most`; whoever finds none free waits,
    and is sent away after `LEND_SECONDS`."""

    def __init__(self, url: str, most: int) -> None:
        self._url = url
        self._places = asyncio.Semaphore(most)
        self._idle: list[Link] = []
        self._closed = False

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Link]:
        """Raises `Temporary` when none becomes free, `StoreUnavailable` when none can be made. A block that raises
        ends the connection: what state it is in is nobody's to guess."""
        try:
            async with asyncio.timeout(LEND_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Temporary("too many reads are waiting; try again") from None
        try:
            link = await self._take()
            try:
                yield link
            except BaseException:
                link.cut()
                raise
            if self._closed:
                await link.close()
            else:
                self._idle.append(link)
        finally:
            self._places.release()

    async def _take(self) -> Link:
        """The one that was used last: its statements are prepared. Those that the server has ended are left behind."""
        while self._idle:
            link = self._idle.pop()
            if link.is_open:
                return link
        return await connect(self._url)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()
