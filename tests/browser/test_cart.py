"""What the customer puts into the cart stands in the conversation, and the cart as it is now in its header (C1, C2)."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, expect

from chatd.demo.catalogue import PRODUCTS
from tests.browser.conftest import MakeCustomer, MakeStaff

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BOWL = PRODUCTS["fjord-bowl"].name
NARROW = {"width": 1024, "height": 768}  # the page makes room: the open chat leaves the buttons free
TEAPOT = PRODUCTS["moss-teapot"].name


async def test_cart_changes_stand_in_the_conversation_and_a_long_name_does_not(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    assert (len(BOWL), len(TEAPOT)) == (40, 41), "both sides of the rule"
    leo, mia = await staff(), await customer("/products/dawn-mug", viewport=NARROW)
    await mia.open_chat()
    await mia.say("I am filling my cart now.")
    await leo.open("I am filling my cart now.")
    cart: Locator = leo.page.locator("cart-strip")
    await expect(cart).to_be_hidden()

    await mia.page.get_by_role("button", name="Add to cart").click()
    await expect(leo.line("Added “Dawn mug” to the cart")).to_be_visible()
    await expect(cart).to_contain_text("€28.00")

    await mia.visit("/products/fjord-bowl")
    await mia.page.get_by_role("button", name="Add to cart").click()
    await expect(leo.line(f"Added “{BOWL}” to the cart")).to_be_visible()
    await mia.visit("/products/moss-teapot")
    await mia.page.get_by_role("button", name="Add to cart").click()
    await expect(leo.line("Added a product to the cart")).to_be_visible()
    await expect(leo.log).not_to_contain_text(TEAPOT)
    await expect(cart).to_contain_text("€194.00")

    await mia.visit("/cart")
    await mia.page.get_by_role("button", name="One Dawn mug more").click()
    await expect(leo.line("Changed “Dawn mug” from 1 to 2")).to_be_visible()
    await expect(cart.get_by_role("listitem").filter(has_text="Dawn mug")).to_contain_text("2 ×")
    await expect(cart.get_by_role("listitem").filter(has_text=BOWL)).to_contain_text("1 ×")
    await expect(cart).to_contain_text("€222.00")
    await mia.page.get_by_role("button", name=f"Remove {TEAPOT}").click()
    await expect(leo.line("Removed a product from the cart")).to_be_visible()
    await mia.page.get_by_role("button", name="Remove Dawn mug").click()
    await expect(leo.line("Removed “Dawn mug” from the cart")).to_be_visible()
    await expect(cart).to_contain_text("€54.00")

    # Each change once, although every page of the shop tells the whole cart; and not to the customer.
    await mia.visit("/")
    await mia.say("Thank you, that is all.")
    await expect(leo.message("Thank you, that is all.")).to_be_visible()
    assert await leo.log.get_by_text("Added “Dawn mug” to the cart").count() == 1
    await expect(mia.log).not_to_contain_text("cart.")
    assert await mia.texts() == ["I am filling my cart now.", "Thank you, that is all."]


async def test_a_cart_that_was_full_before_the_first_word_is_known_with_it(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(), await customer("/products/tidewater-vase")
    await mia.page.get_by_role("button", name="Add to cart").click()
    await mia.open_chat()
    await mia.say("Is this the last vase?")
    await leo.open("Is this the last vase?")
    await expect(leo.page.locator("cart-strip")).to_contain_text("€89.00")
    await expect(leo.page.locator("cart-strip").get_by_role("listitem")).to_have_text(
        re.compile(r"1 ×\s*Tidewater vase")
    )
