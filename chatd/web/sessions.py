"""The logins of staff, as requests carry them: a cookie that says nothing, and a row that says everything.

The cookie is HttpOnly and `SameSite=Lax`; under https it is Secure and has the `__Host-` prefix, with which no other
host and no plain connection can set it (RFC 6265bis section 4.1.3.2). Every request asks the store whether the
session is still good: logging out, removing somebody and changing a password hold from the next request on, on every
node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from chatd.config import Settings
from chatd.errors import ChatError, NotAuthenticated, NotPermitted
from chatd.store.contract import Store, Transaction
from chatd.store.staff import (
    TOUCH_MS,
    Session,
    Staff,
    add_session,
    end_session,
    find_by_email,
    find_session,
    touch_session,
)
from chatd.web.security import require_own_page
from chatd.web.tokens import check_csrf_token, hash_token, make_csrf_token, new_session_token

DAY_SECONDS = 86_400
COOKIE_CHARACTERS_MAX = 100


class Sessions:
    """Finds, begins and ends logins. `clock` is in milliseconds since 1970; `on_end` hears which session ended, after
    it did, so that its sockets can be closed."""

    def __init__(
        self, settings: Settings, store: Store, clock: Callable[[], int], on_end: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._on_end = on_end
        self._secure = settings.base_url.startswith("https://")
        self.cookie = self.cookie_name("session")

    def cookie_name(self, name: str) -> str:
        return f"__Host-chatd_{name}" if self._secure else f"chatd_{name}"

    def set_cookie(self, response: Response, name: str, value: str, seconds: int | None) -> None:
        response.set_cookie(
            self.cookie_name(name), value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    # ------------------------------------------------------------------ finding

    def has_cookie(self, connection: HTTPConnection) -> bool:
        return bool(connection.cookies.get(self.cookie))

    async def find(self, connection: HTTPConnection) -> Session | None:
        """The session of this request, if it is good now. That it was used is noted on the way, unless the store has
        more urgent troubles."""
        token = connection.cookies.get(self.cookie, "")
        if not 0 < len(token) <= COOKIE_CHARACTERS_MAX:
            return None
        now = self._clock()
        idle_ms = int(self._settings.session_idle_hours * 3_600_000)
        token_hash = hash_token(token)
        session = await self._store.read(lambda tx: find_session(tx, token_hash, now=now, idle_ms=idle_ms))
        if session is not None and now - session.used_at > TOUCH_MS:
            try:
                self._store.submit(lambda tx: touch_session(tx, token_hash, now), _let_be)
            except ChatError:
                pass
        return session

    async def require(self, connection: HTTPConnection) -> Session:
        """The session of a request that changes something: it must be good, and a page of ours must have made the
        request. Raises `NotPermitted` or `NotAuthenticated`. The CSRF token is for `check_csrf`."""
        require_own_page(connection, self._settings.origin)
        session = await self.find(connection)
        if session is None:
            raise NotAuthenticated("log in first")
        return session

    # ------------------------------------------------------------------ CSRF

    def csrf_of(self, session: Session) -> str:
        """The token for the forms and scripts of this session's pages."""
        return make_csrf_token(self._settings.secret, f"session {session.token_hash}")

    def check_csrf(self, session: Session, shown: str | None) -> None:
        """Raises `NotPermitted` unless this is the session's token."""
        if not check_csrf_token(self._settings.secret, f"session {session.token_hash}", shown):
            raise NotPermitted("the page's CSRF token is missing or old; load the page again", reason="csrf")

    # ------------------------------------------------------------------ beginning and ending

    async def begin(self, person: Staff, password_hash: str, old: HTTPConnection) -> str | None:
        """A new session for somebody whose password was right; returns its token. Always a new one, and the one that
        this browser had before ends: what an attacker may have planted there is worth nothing (session fixation).
        None when the person was removed, or got another password, since the password was checked."""
        token, now = new_session_token(), self._clock()
        expires_at = now + int(self._settings.session_days * DAY_SECONDS * 1_000)
        planted = hash_token(old.cookies.get(self.cookie, ""))

        async def job(tx: Transaction) -> bool | None:
            if await find_by_email(tx, person.email) != (person, password_hash):
                return None
            ended = await end_session(tx, planted)
            await add_session(tx, person, hash_token(token), now=now, expires_at=expires_at)
            return ended

        ended = await self._store.write(job)
        if ended:
            self._on_end(planted)
        return None if ended is None else token

    def keep(self, response: Response, token: str) -> None:
        """Give the browser its session."""
        self.set_cookie(response, "session", token, int(self._settings.session_days * DAY_SECONDS))

    async def end(self, session: Session) -> None:
        """Log out, everywhere this session is open."""
        await self._store.write(lambda tx: end_session(tx, session.token_hash))
        self._on_end(session.token_hash)

    def forget(self, response: Response, name: str = "session") -> None:
        """Take the cookie back."""
        response.delete_cookie(self.cookie_name(name), path="/", secure=self._secure, httponly=True, samesite="lax")


def _let_be(result: Any, error: BaseException | None) -> None:
    """A touch that failed costs nothing: the next request tries again."""
