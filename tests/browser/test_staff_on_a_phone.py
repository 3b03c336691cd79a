"""Staff with the inbox in their hand: what fills the screen is a place to come back from, and nothing lies on the words
that one writes."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.windows import PHONE

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HANDY: dict[str, Any] = {"viewport": dict(PHONE), "is_mobile": True, "has_touch": True}


async def test_back_leads_out_of_the_customer_to_the_thread_and_then_to_the_list(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(**HANDY), await customer()
    await mia.open_chat()
    await mia.say("Seen from the sofa.")
    await leo.open("Seen from the sofa.")
    panel = leo.page.get_by_role("complementary", name="Customer")
    show, hide = (
        leo.page.get_by_role("button", name="Customer (I)"),
        panel.get_by_role("button", name="Hide the customer"),
    )

    await show.click()
    await expect(panel).to_be_visible()
    await leo.page.go_back()
    await expect(panel).to_be_hidden()
    await expect(leo.field).to_be_visible()

    await show.click()
    await leo.page.reload()
    await expect(panel).to_be_visible()
    await hide.click()
    await expect(panel).to_be_hidden()
    await expect(leo.field).to_be_visible()

    await leo.page.go_back()
    await expect(leo.row("Seen from the sofa.")).to_be_visible()
    await expect(leo.field).to_be_hidden()
    await expect(leo.row("Seen from the sofa.").get_by_role("link")).to_be_focused()
    await leo.open("Seen from the sofa.")
    await expect(panel).to_be_hidden()


async def test_a_toast_stands_above_what_one_writes_and_can_be_touched(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(**HANDY), await customer()
    await mia.open_chat()
    await mia.say("Closed by mistake.")
    await leo.open("Closed by mistake.")
    await leo.field.fill("A line of a long answer.\n" * 12)
    await leo.header.get_by_role("button", name="Close", exact=True).click()
    undo = leo.page.get_by_role("button", name="Undo")
    toast, field = await undo.bounding_box(), await leo.field.bounding_box()
    assert toast and field and toast["y"] + toast["height"] <= field["y"]
    await leo.field.focus()
    await undo.click()
    await expect(leo.line("You opened the conversation again")).to_be_visible()
