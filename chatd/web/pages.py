"""The pages and the few requests around the socket that are not about logging in.

| address | for |
|---|---|
| `/inbox`, `/inbox/{conversation}` | staff: empty panes that the inbox's scripts replace |
| `/messages` | customers, from the Reply link of a mail; the link is in the fragment and never gets here by itself |
| `/bubble/{shop}.js` | shops' pages: the bubble's script with the shop's settings in it |
| `POST /v1/reply-links` | that link, exchanged for a token for one conversation |
| `/health` | load balancers and operators |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Protocol
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from chatd.config import Settings
from chatd.errors import NotAuthenticated, NotFound, TooFast
from chatd.i18n import pick_locale, texts
from chatd.notify.compose import text_colour_on
from chatd.store.contract import Store, Transaction
from chatd.store.people import add_token
from chatd.store.shops import Shop, ShopDirectory
from chatd.web.addresses import address_group
from chatd.web.assets import Asset, Assets, answer, asset_of
from chatd.web.bodies import read_json
from chatd.web.login import own_path
from chatd.web.rates import Rate, RateLimiter
from chatd.web.rendering import Rendering
from chatd.web.security import facts_of, require_own_page
from chatd.web.sessions import Sessions
from chatd.web.tokens import hash_token, make_reply_token

BUBBLE_FILE = "bubble/embed.js"
BUBBLE_PLACE = b"/*CHATD_SETTINGS*/null"
BUBBLE_CACHE = "public, max-age=300"  # how long a changed colour or an update may take to reach a shop's pages
BUBBLES_KEPT = 500
LINK_RATE = Rate(burst=30, seconds=60)
LINK_CHARACTERS_MAX = 1_024
HEALTH_SECONDS = 3.0

logger = logging.getLogger("chatd.web.pages")


class OpenedLink(Protocol):
    """What a Reply link opens, until `expires_at` (milliseconds)."""

    @property
    def shop(self) -> str: ...
    @property
    def customer(self) -> str: ...
    @property
    def conversation(self) -> str: ...
    @property
    def expires_at(self) -> int: ...


OpenLink = Callable[[str], OpenedLink]
"""Raises `NotAuthenticated` for a link that is forged or too old."""

Check = Callable[[], Awaitable[str | None]]
"""Looks whether a part works; says what is wrong in a sentence for the operator, or nothing."""


_NONE: Mapping[str, Check] = MappingProxyType({})


class _ExchangeLink(msgspec.Struct, forbid_unknown_fields=True):
    link: Annotated[str, msgspec.Meta(min_length=1, max_length=LINK_CHARACTERS_MAX)]


class Pages:
    """See the module's text. `checks` are by the name of the part; `degradations` are those of parts without which
    chatd goes on, less well."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        directory: ShopDirectory,
        sessions: Sessions,
        rendering: Rendering,
        assets: Assets,
        *,
        open_link: OpenLink,
        checks: Mapping[str, Check],
        degradations: Mapping[str, Check] = _NONE,
        clock: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = store
        self._directory = directory
        self._sessions = sessions
        self._rendering = rendering
        self._assets = assets
        self._open_link = open_link
        self._checks = {**degradations, **checks}
        self._degradations = frozenset(degradations)
        self._clock = clock
        self._now = now
        self._links = RateLimiter(LINK_RATE)
        self._bubbles: dict[str, tuple[Shop, str, Asset]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/", self._home, methods=["GET"]),
            Route("/inbox", self._inbox, methods=["GET"]),
            Route("/inbox/{conversation}", self._inbox, methods=["GET"]),
            Route("/messages", self._messages, methods=["GET"]),
            Route("/bubble/{shop}.js", self._bubble, methods=["GET"]),
            Route("/v1/reply-links", self._exchange_link, methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
        ]

    # ------------------------------------------------------------------ pages

    async def _home(self, request: Request) -> Response:
        return RedirectResponse("/inbox", 303)

    async def _inbox(self, request: Request) -> Response:
        session = await self._sessions.find(request)
        if session is None:
            if not self._sessions.has_cookie(request):
                return RedirectResponse(f"/login?next={_place(request)}", 303)
            response = RedirectResponse(f"/login?ended&next={_place(request)}", 303)
            self._sessions.forget(response)
            return response
        shop = self._directory.by_id(session.staff.shop)
        if shop is None:
            raise NotFound("this shop is not there any more")
        return self._rendering.page(
            request,
            "inbox.html",
            csrf=self._sessions.csrf_of(session),
            shop={"key": shop.key, "name": shop.name, "colour": shop.colour, "locale": shop.locale},
            staff={"id": session.staff.id, "name": session.staff.name, "email": session.staff.email},
            socket=self._rendering.socket,
            conversation=request.path_params.get("conversation"),
            failed=texts(pick_locale(request.headers.get("accept-language")), "launcher")["failed"],
        )

    async def _messages(self, request: Request) -> Response:
        return self._rendering.page(request, "messages.html", socket_base=f"{self._rendering.socket}/")

    # ------------------------------------------------------------------ the bubble

    async def _bubble(self, request: Request) -> Response:
        shop = self._directory.by_key(request.path_params["shop"])
        if shop is None:
            raise NotFound("no such shop")
        return answer(request, self._bubble_of(shop), BUBBLE_CACHE)

    def _bubble_of(self, shop: Shop) -> Asset:
        """The script for this shop, made anew when the shop or the files have changed."""
        version = self._assets.version
        kept = self._bubbles.get(shop.key)
        if kept is not None and kept[0] is shop and kept[1] == version:
            return kept[2]
        source = self._assets.find(BUBBLE_FILE)
        if source is None:
            raise NotFound("this chatd has no bubble")
        script = source.plain.replace(BUBBLE_PLACE, script_literal(bubble_settings(shop, self._settings, self._assets)))
        made = asset_of(script, ".js")
        if len(self._bubbles) >= BUBBLES_KEPT:
            del self._bubbles[next(iter(self._bubbles))]
        self._bubbles[shop.key] = (shop, version, made)
        return made

    # ------------------------------------------------------------------ reply links

    async def _exchange_link(self, request: Request) -> Response:
        """The token of a link is the same each time, so opening a mail a hundred times leaves one row."""
        require_own_page(request, self._settings.origin)
        place, now = address_group(facts_of(request).client), self._now()
        wait = self._links.wait_seconds(place, now)
        if wait > 0:
            raise TooFast("too many links at once", retry_after_ms=int(wait * 1_000) + 1)
        self._links.take(place, now)
        link = (await read_json(request, _ExchangeLink)).link
        opened = self._open_link(link)
        shop = self._directory.by_id(opened.shop)
        if shop is None:
            raise NotAuthenticated("the shop of this link is not there any more")
        token = make_reply_token(self._settings.secret, link)

        async def job(tx: Transaction) -> None:
            await add_token(
                tx,
                token_hash=hash_token(token),
                shop=opened.shop,
                customer=opened.customer,
                conversation=opened.conversation,
                now=self._clock(),
                expires_at=opened.expires_at,
            )

        await self._store.write(job)
        return JSONResponse(
            {"shop": shop.key, "token": token, "conversation": opened.conversation},
            headers={"Cache-Control": "no-store"},
        )

    # ------------------------------------------------------------------ health

    async def _health(self, request: Request) -> Response:
        """200 while everything works that a customer or a member of staff needs, else 503; what does not is said."""
        names = list(self._checks)
        found = await asyncio.gather(*(self._look(name) for name in names))
        reasons = [{"part": name, "reason": reason} for name, reason in zip(names, found, strict=True) if reason]
        failing = any(reason["part"] not in self._degradations for reason in reasons)
        status = "failing" if failing else "degraded" if reasons else "ok"
        body = {"status": status, "reasons": reasons} if reasons else {"status": status}
        return JSONResponse(body, 503 if failing else 200, {"Cache-Control": "no-store"})

    async def _look(self, name: str) -> str | None:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                return await self._checks[name]()
        except TimeoutError:
            return f"no answer within {HEALTH_SECONDS:g} s"
        except Exception:
            logger.exception("the check of %s failed", name)
            return "the check itself failed; see the log"


def bubble_settings(shop: Shop, settings: Settings, assets: Assets) -> dict[str, object]:
    """What the bubble knows of its shop before it talks to chatd. All of it is public."""
    scheme, _, rest = settings.base_url.partition("://")
    return {
        "shop": shop.key,
        "socket": f"{'wss' if scheme == 'https' else 'ws'}://{rest}/v1/socket/{shop.key}",
        "assets": f"{settings.base_url}{assets.base}",
        "name": shop.name,
        "colour": shop.colour,
        "on_colour": text_colour_on(shop.colour),
        "greeting": shop.greeting,
        "locale": shop.locale,
        "position": "right",
        "ask_first": shop.ask_first,
        "labels": texts(shop.locale, "launcher"),
    }


def script_literal(value: object) -> bytes:
    """JSON that stays what it is inside a script, also one that stands in a page: nothing in it can end the script or a
    line of it (U+2028 and U+2029 are line breaks to older JavaScript)."""
    text = msgspec.json.encode(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _place(request: Request) -> str:
    """Where in the inbox somebody wanted to be, with the list if it is one, to stand in an address."""
    path, query = request.url.path, request.url.query
    place = f"{path}?{query}"
    return quote(place if own_path(place) == place else path, safe="/")
