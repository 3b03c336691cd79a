"""The demo shop behaves like a shop: its pages, its cart, and what it tells chatd of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from chatd.demo.catalogue import PRODUCTS, QUANTITY_MAX, change_cart, read_cart, write_cart
from chatd.demo.shop import COOKIE, FORM_BYTES_MAX, create_shop_app
from chatd.domain.carts import NAME_CHARACTERS_TOLD, check_cart
from chatd.domain.commands import Cart
from chatd.domain.limits import Limits

BASE = "http://shop.localhost:8001"
CHATD = "http://localhost:8000"


@pytest.fixture
def shop() -> Iterator[TestClient]:
    with TestClient(create_shop_app(base_url=BASE, chatd_url=CHATD, shop_key="nordlys"), base_url=BASE) as client:
        yield client


def told_cart(page: str) -> dict[str, Any]:
    """What `shop.js` hands to chatd on this page."""
    block = re.search(r'<script type="application/json" id="cart">(.*?)</script>', page, re.DOTALL)
    assert block
    cart: dict[str, Any] = json.loads(block.group(1))
    return cart


def put(shop: TestClient, slug: str, quantity: int, *, add: bool = False) -> str:
    fields = {"slug": slug, "quantity": str(quantity)} | ({"add": "1"} if add else {})
    answer = shop.post("/cart", data=fields)
    assert answer.status_code == 200  # after the redirect
    return answer.text


@pytest.mark.parametrize("path", ["/", "/cart", "/checkout", "/studio", *(f"/products/{slug}" for slug in PRODUCTS)])
def test_every_page_carries_the_one_script_tag_and_nothing_inline(shop: TestClient, path: str) -> None:
    answer = shop.get(path)
    assert answer.status_code == 200
    assert answer.text.count(f'<script async src="{CHATD}/bubble/nordlys.js"></script>') == 1
    assert not re.search(r"<script(?![^>]*(?:src=|application/json))|\sstyle=|\son\w+=", answer.text)
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_picture_of_the_shop_is_there(shop: TestClient) -> None:
    pages = "".join(shop.get(path).text for path in ("/", "/studio", "/products/dawn-mug"))
    pictures = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', pages))
    assert len(pictures) > len(PRODUCTS)
    assert {path: shop.get(path).status_code for path in pictures} == dict.fromkeys(pictures, 200)


def test_the_cart_is_filled_changed_and_emptied_by_plain_forms(shop: TestClient) -> None:
    assert "is in your cart" in put(shop, "dawn-mug", 2, add=True)
    put(shop, "fjord-bowl", 1, add=True)
    put(shop, "dawn-mug", 1, add=True)
    page = shop.get("/cart").text
    assert told_cart(page)["subtotal"] == 3 * 2800 + 5400
    assert [(line["id"], line["quantity"]) for line in told_cart(page)["lines"]] == [("dawn-mug", 3), ("fjord-bowl", 1)]
    assert "€138.00" in page

    assert [line["quantity"] for line in told_cart(put(shop, "dawn-mug", 2))["lines"]] == [2, 1]
    assert [line["id"] for line in told_cart(put(shop, "dawn-mug", 0))["lines"]] == ["fjord-bowl"]
    assert "There is nothing in it yet" in put(shop, "fjord-bowl", 0)


def test_the_same_cart_is_told_on_every_page(shop: TestClient) -> None:
    put(shop, "moss-teapot", 1, add=True)
    carts = [told_cart(shop.get(path).text) for path in ("/", "/cart", "/studio", "/products/dawn-mug")]
    assert all(cart == carts[0] for cart in carts)
    assert carts[0]["lines"][0]["url"] == f"{BASE}/products/moss-teapot"


def test_chatd_takes_the_cart_as_the_shop_tells_it(shop: TestClient) -> None:
    for slug in PRODUCTS:
        put(shop, slug, QUANTITY_MAX, add=True)
    check_cart(msgspec.convert(told_cart(shop.get("/").text), Cart), Limits())


def test_both_sides_of_the_rule_about_names_stand_on_the_shelf() -> None:
    """Feature C1: a name shorter than 41 characters is told, a longer one is not."""
    lengths = {len(product.name) for product in PRODUCTS.values()}
    assert {NAME_CHARACTERS_TOLD, NAME_CHARACTERS_TOLD + 1} <= lengths
    assert min(lengths) < NAME_CHARACTERS_TOLD < max(lengths)


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"slug": "unknown", "quantity": "1"}, {}, 422),
        ({"slug": "dawn-mug", "quantity": "-1"}, {}, 422),
        ({"slug": "dawn-mug", "quantity": "²"}, {}, 422),
        ({"slug": "dawn-mug", "quantity": "1e3"}, {}, 422),
        ({}, {}, 422),
        ({"slug": "dawn-mug", "note": "x" * FORM_BYTES_MAX}, {}, 413),
        ({"slug": "dawn-mug", "quantity": "1"}, {"Origin": "https://elsewhere.example"}, 403),
    ],
)
def test_a_form_that_makes_no_sense_changes_nothing(
    shop: TestClient, fields: dict[str, str], headers: dict[str, str], status: int
) -> None:
    put(shop, "dawn-mug", 2)
    assert shop.post("/cart", data=fields, headers=headers).status_code == status
    assert [line["quantity"] for line in told_cart(shop.get("/").text)["lines"]] == [2]


def test_an_unknown_page_says_so_and_still_has_the_bubble(shop: TestClient) -> None:
    for path in ("/products/nothing", "/nothing"):
        answer = shop.get(path)
        assert answer.status_code == 404
        assert "not on the shelf" in answer.text
        assert "/bubble/nordlys.js" in answer.text


@given(st.text())
def test_no_cookie_breaks_the_cart(cookie: str) -> None:
    lines = read_cart(cookie)
    assert all(0 < line.quantity <= QUANTITY_MAX for line in lines)
    assert read_cart(write_cart(lines)) == lines


def test_a_hostile_cookie_is_an_empty_cart(shop: TestClient) -> None:
    shop.cookies.set(COOKIE, "dawn-mug:99999999999999999999.</script>:1.fjord-bowl:-3")
    assert [(line["id"], line["quantity"]) for line in told_cart(shop.get("/").text)["lines"]] == [("dawn-mug", 20)]


@given(
    st.lists(st.tuples(st.sampled_from([*PRODUCTS, "unknown"]), st.integers(-30, 30), st.booleans()), max_size=30),
)
def test_a_cart_never_holds_nothing_or_too_much_of_a_product(changes: list[tuple[str, int, bool]]) -> None:
    lines = read_cart("")
    for slug, quantity, add in changes:
        lines = change_cart(lines, slug, quantity, add=add)
    assert all(0 < line.quantity <= QUANTITY_MAX for line in lines)
    assert len({line.product.slug for line in lines}) == len(lines)
