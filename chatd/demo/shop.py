"""Nordlys, the demo shop: a small pottery with product pages, a cart and full-page navigation, on an origin of its own.

It is a shop like any other that uses chatd: plain pages with forms that work without scripts, a cart in a cookie, a
strict Content-Security-Policy, and on every page the one script tag of the bubble. What the cart holds stands in a data
block of the page; `static/demo/shop.js` hands it to chatd. The shop imports nothing of chatd's inside and keeps
nothing: it could run anywhere.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatd.demo.catalogue import (
    CURRENCY,
    PRODUCTS,
    QUANTITY_MAX,
    SHIPPING,
    SHIPPING_FREE_FROM,
    CartLine,
    change_cart,
    money,
    read_cart,
    write_cart,
)
from chatd.resources import static_directory, templates_directory

# Cookies know no ports, so the name must not be one that the inbox on the same host uses.
COOKIE = "nordlys_cart"
COOKIE_SECONDS = 30 * 86_400
FORM_BYTES_MAX = 2_000


def create_shop_app(*, base_url: str, chatd_url: str, shop_key: str) -> Starlette:
    """The shop under `base_url`, with the bubble of the shop `shop_key` of the chatd at `chatd_url`. Both addresses are
    origins, without a slash at the end."""
    return _Shop(base_url, chatd_url, shop_key).app()


class _Shop:
    def __init__(self, base_url: str, chatd_url: str, shop_key: str) -> None:
        self._base_url = base_url
        self._chatd_url = chatd_url
        self._pages = Jinja2Templates(directory=templates_directory() / "demo")
        self._pages.env.globals.update(
            bubble=f"{chatd_url}/bubble/{shop_key}.js",
            quantity_max=QUANTITY_MAX,
            shipping=SHIPPING,
            shipping_free_from=SHIPPING_FREE_FROM,
        )
        self._pages.env.filters["money"] = money

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.home),
                Route("/products/{slug}", self.product),
                Route("/cart", self.cart),
                Route("/cart", self.change, methods=["POST"]),
                Route("/checkout", self.checkout),
                Route("/studio", self.studio),
                Mount("/static", StaticFiles(directory=static_directory() / "demo")),
            ],
            middleware=[Middleware(_Headers, policy=self._policy())],
            exception_handlers={404: self.lost},
        )

    def _policy(self) -> str:
        """What a shop writes into its own policy for chatd is `{chatd}` in two places, and nothing unsafe."""
        chatd = self._chatd_url
        socket = urlsplit(chatd)._replace(scheme="wss" if chatd.startswith("https:") else "ws").geturl()
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src 'self' {chatd}",
                "style-src 'self'",
                "img-src 'self'",
                f"connect-src {chatd} {socket}",
                "form-action 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        )

    # ------------------------------------------------------------ pages

    def _page(self, request: Request, name: str, status_code: int = 200, **context: object) -> Response:
        lines = read_cart(request.cookies.get(COOKIE, ""))
        return self._pages.TemplateResponse(
            request,
            name,
            {
                "lines": lines,
                "count": sum(line.quantity for line in lines),
                "subtotal": sum(line.total for line in lines),
                "cart": self._told(lines),
                **context,
            },
            status_code=status_code,
        )

    def _told(self, lines: list[CartLine]) -> dict[str, object]:
        """The cart in the shape that chatd takes; see "Put the bubble on your shop" in the README."""
        return {
            "currency": CURRENCY,
            "subtotal": sum(line.total for line in lines),
            "lines": [
                {
                    "id": line.product.slug,
                    "title": line.product.name,
                    "quantity": line.quantity,
                    "price": line.product.price,
                    "url": f"{self._base_url}/products/{line.product.slug}",
                    "picture": f"{self._base_url}/static/products/{line.product.slug}.svg",
                }
                for line in lines
            ],
        }

    async def home(self, request: Request) -> Response:
        return self._page(request, "home.html", products=list(PRODUCTS.values()))

    async def product(self, request: Request) -> Response:
        product = PRODUCTS.get(request.path_params["slug"])
        if product is None:
            raise HTTPException(404)
        others = [other for other in PRODUCTS.values() if other is not product]
        start = list(PRODUCTS).index(product.slug)
        return self._page(
            request,
            "product.html",
            product=product,
            others=[others[(start + step) % len(others)] for step in range(3)],
            added=request.query_params.get("added") == "1",
        )

    async def cart(self, request: Request) -> Response:
        return self._page(request, "cart.html")

    async def checkout(self, request: Request) -> Response:
        return self._page(request, "checkout.html")

    async def studio(self, request: Request) -> Response:
        return self._page(request, "studio.html")

    async def lost(self, request: Request, _error: Exception) -> Response:
        return self._page(request, "lost.html", status_code=404)

    # ------------------------------------------------------------ the cart

    async def change(self, request: Request) -> Response:
        """One form for all: `slug` and `quantity`, which is set, or added when the form came from a product page."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "This form was sent from another site.")
        form = await _form(request)
        slug = form.get("slug", "")
        quantity = form.get("quantity", "1")
        if slug not in PRODUCTS or not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 3):
            raise HTTPException(422, f"Expected a product of this shop and a quantity from 0 to {QUANTITY_MAX}.")
        adding = form.get("add") == "1"
        lines = change_cart(read_cart(request.cookies.get(COOKIE, "")), slug, int(quantity), add=adding)
        # 303: the browser asks for the page anew, and a reload does not send the form again.
        answer = RedirectResponse(f"/products/{slug}?added=1" if adding else "/cart", status_code=303)
        answer.set_cookie(COOKIE, write_cart(lines), max_age=COOKIE_SECONDS, httponly=True, samesite="lax")
        return answer


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form. Raises 413 above `FORM_BYTES_MAX`, whatever length was announced."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, f"The form is longer than {FORM_BYTES_MAX} bytes.")
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}


class _Headers:
    """The shop's policy and good manners on every answer."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = self._policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)
