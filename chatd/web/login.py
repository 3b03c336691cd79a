"""Staff come in and go out: the login form, logging out, and the tickets with which a page opens its socket.

* Unknown address and wrong password get the same page, status and time; so do people who were removed.
* Tries are counted before the password is looked at, for the pair of account and address, for the account from
  anywhere and
  for the address; what is beyond gets the exact time to wait. The pair is the strict one: if the account alone were,
  anybody could lock anybody out. A right password frees the pair.
* CSRF: a page of our own must have sent the request (`Origin`), and it must carry a token that only that page can
  know: of the
  session, or before there is one, of a cookie that the login page has set.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from chatd.config import Settings
from chatd.errors import ChatError, NotAuthenticated, Temporary, TooFast
from chatd.store.contract import Store
from chatd.store.staff import Staff, find_by_email, replace_password_hash
from chatd.web.addresses import address_group
from chatd.web.bodies import read_form
from chatd.web.passwords import Passwords
from chatd.web.rates import Rate, RateLimiter
from chatd.web.rendering import Rendering
from chatd.web.security import answer_of, facts_of, require_own_page
from chatd.web.sessions import Sessions
from chatd.web.tokens import TICKET_SECONDS, check_csrf_token, make_csrf_token, make_ticket

PAIR_RATE = Rate(burst=10, seconds=900)
ACCOUNT_RATE = Rate(burst=100, seconds=3_600)  # NIST SP 800-63B section 5.2.2: at most 100 failures in a row
ADDRESS_RATE = Rate(burst=50, seconds=900)  # an office of people behind one address
EMAIL_CHARACTERS_MAX = 254
LOGIN_COOKIE_CHARACTERS = 32

# A place in the inbox: a conversation, and the list beside it (static/inbox/place.js).
_INBOX_PATH = re.compile(
    r"/inbox(/[A-Za-z0-9_-]{1,64})?(\?[a-z_]{1,20}=[a-z_]{1,40}(&[a-z_]{1,20}=[a-z_]{1,40}){0,3})?"
)

logger = logging.getLogger("chatd.web.login")


class Login:
    """See the module's text. `clock` is in milliseconds, `now` in seconds and never jumps."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sessions: Sessions,
        passwords: Passwords,
        rendering: Rendering,
        *,
        clock: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._rendering = rendering
        self._clock = clock
        self._now = now
        self._pairs = RateLimiter(PAIR_RATE)
        self._accounts = RateLimiter(ACCOUNT_RATE)
        self._addresses = RateLimiter(ADDRESS_RATE)

    def routes(self) -> list[Route]:
        return [
            Route("/login", self._show, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Route("/v1/tickets", self._make_ticket, methods=["POST"]),
        ]

    # ------------------------------------------------------------------ in

    async def _show(self, request: Request) -> Response:
        following = own_path(request.query_params.get("next"))
        if await self._sessions.find(request) is not None:
            return RedirectResponse(following, 303)
        error = "session_ended" if "ended" in request.query_params else None
        return self._form(request, 200, error, following=following)

    def _form(
        self, request: Request, status: int, error: str | None, *, email: str = "", following: str = "/inbox"
    ) -> Response:
        """The login page. It sets the cookie that its token is bound to, unless the browser has one already: a second
        tab must not make the first one's form stale."""
        name = self._sessions.cookie_name("login")
        cookie = request.cookies.get(name, "")
        fresh = len(cookie) != LOGIN_COOKIE_CHARACTERS
        if fresh:
            cookie = secrets.token_hex(LOGIN_COOKIE_CHARACTERS // 2)
        response = self._rendering.page(
            request,
            "login.html",
            status,
            csrf=make_csrf_token(self._settings.secret, f"login {cookie}"),
            error=error,
            email=email[:EMAIL_CHARACTERS_MAX],
            next=following,
        )
        if fresh:
            self._sessions.set_cookie(response, "login", cookie, None)
        return response

    async def _log_in(self, request: Request) -> Response:
        require_own_page(request, self._settings.origin)
        form = await read_form(request)
        email, following = form.get("email", ""), own_path(form.get("next"))
        cookie = request.cookies.get(self._sessions.cookie_name("login"))
        bound_to = f"login {cookie}" if cookie else None
        if not check_csrf_token(self._settings.secret, bound_to, form.get("csrf")):
            return self._form(request, 403, "not_permitted", email=email, following=following)
        try:
            person, password_hash = await self._who(request, email, form.get("password", ""))
            token = await self._sessions.begin(person, password_hash, request)
            if token is None:
                raise NotAuthenticated("the password was changed a moment ago")
        except (NotAuthenticated, TooFast, Temporary) as error:
            return self._refused(request, error, email, following)
        logger.info("%s of shop %s logged in from %s", person.id, person.shop, facts_of(request).client)
        response = RedirectResponse(following, 303)
        self._sessions.keep(response, token)
        self._sessions.forget(response, "login")
        return response

    def _refused(self, request: Request, error: ChatError, email: str, following: str) -> Response:
        answer = answer_of(error)
        code = "temporary" if isinstance(error, Temporary) else answer.code
        response = self._form(request, answer.status, code, email=email, following=following)
        response.headers.update(answer.headers)
        return response

    async def _who(self, request: Request, email: str, password: str) -> tuple[Staff, str]:
        """Whose address and password these are, with the hash that said so. Raises `NotAuthenticated`, `TooFast` or
        `Temporary`."""
        client = facts_of(request).client
        pair = self._count_try(email, client)
        found = await self._store.read(lambda tx: find_by_email(tx, email[:EMAIL_CHARACTERS_MAX]))
        person, password_hash = found if found is not None else (None, None)
        right = await self._passwords.verify(password_hash, password)
        if not right or person is None or password_hash is None:
            logger.warning("a login failed from %s", client)
            raise NotAuthenticated("the address or the password is wrong")
        self._pairs.forget(pair)
        return person, await self._renewed(person, password_hash, password)

    def _count_try(self, email: str, client: str) -> str:
        """Count this try, and raise `TooFast` when it is one too many. Returns the key of the pair. Keys are hashed, so
        that no address of a person stays in memory and all are of one size."""
        account = hashlib.sha256(email.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()
        place = address_group(client)
        pair = f"{account} {place}"
        now = self._now()
        limits = ((self._pairs, pair), (self._accounts, account), (self._addresses, place))
        wait = max(limiter.wait_seconds(key, now) for limiter, key in limits)
        if wait > 0:
            logger.warning("too many logins from %s", client)
            raise TooFast("too many tries; wait before the next one", retry_after_ms=int(wait * 1_000) + 1)
        for limiter, key in limits:
            limiter.take(key, now)
        return pair

    async def _renewed(self, person: Staff, password_hash: str, password: str) -> str:
        """The hash under today's parameters, now that the password is at hand."""
        if not self._passwords.needs_rehash(password_hash):
            return password_hash
        better = await self._passwords.hash(password)
        await self._store.write(lambda tx: replace_password_hash(tx, person.shop, person.id, better))
        return better

    # ------------------------------------------------------------------ out

    async def _log_out(self, request: Request) -> Response:
        require_own_page(request, self._settings.origin)
        session = await self._sessions.find(request)
        response = RedirectResponse("/login", 303)
        if session is not None:
            self._sessions.check_csrf(session, (await read_form(request)).get("csrf"))
            await self._sessions.end(session)
        self._sessions.forget(response)
        return response

    # ------------------------------------------------------------------ tickets

    async def _make_ticket(self, request: Request) -> Response:
        session = await self._sessions.require(request)
        self._sessions.check_csrf(session, request.headers.get("x-csrf-token"))
        ticket = make_ticket(self._settings.secret, session.token_hash, self._clock())
        return JSONResponse(
            {"ticket": ticket, "expires_in_seconds": TICKET_SECONDS}, headers={"Cache-Control": "no-store"}
        )


def own_path(given: str | None) -> str:
    """Where to go after the login: a place in the inbox, whatever else is asked for (open redirect)."""
    return given if given is not None and _INBOX_PATH.fullmatch(given) else "/inbox"
