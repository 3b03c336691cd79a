"""What people do in front of their windows, in their words: a customer on the shop's pages, staff in the inbox.

Everything waits until the page is ready for it; nothing sleeps. What is looked for is what a person sees or a screen
reader says, so that a change of markup breaks no test and a change of words does.
"""

from __future__ import annotations

import re

from playwright.async_api import BrowserContext, Locator, Page, expect

from chatd.demo.run import PASSWORD, SHOP_KEY
from chatd.web.tokens import customer_id_of
from tests.browser.program import Program
from tests.browser.windows import Watch

SHOP_NAME = "Nordlys pottery"
TOKEN_KEY = f"chatd:{SHOP_KEY}:token"

expect.set_options(timeout=15_000)


class Customer:
    """Somebody on the shop's pages."""

    def __init__(self, program: Program, context: BrowserContext, watch: Watch, page: Page) -> None:
        self.program = program
        self.context = context
        self.watch = watch
        self.page = page
        bubble = page.locator("chatd-bubble")
        self.launcher = bubble.locator("button.launcher")
        self.panel = bubble.get_by_role("dialog", name=f"Chat with {SHOP_NAME}")
        self.field = self.panel.get_by_role("textbox", name="Message")
        self.log = self.panel.get_by_role("log")
        self.introduction = self.panel.get_by_role("form", name="Where can we reach you?")

    async def visit(self, path: str = "/") -> None:
        await self.page.goto(f"{self.program.shop}{path}")

    async def open_chat(self) -> None:
        await self.launcher.click()
        await expect(self.field).to_be_visible()

    async def close_chat(self) -> None:
        await self.panel.get_by_role("button", name="Close").click()
        await expect(self.panel).to_be_hidden()

    async def say(self, text: str) -> None:
        await self.field.fill(text)
        await self.field.press("Enter")
        await expect(self.message(text)).to_be_visible()

    async def introduce(self, name: str = "", email: str = "") -> None:
        await self.introduction.get_by_label("Name").fill(name)
        await self.introduction.get_by_label("E-mail").fill(email)
        await self.introduction.get_by_role("button", name="Save").click()
        await expect(self.introduction).to_be_hidden()

    def message(self, text: str) -> Locator:
        return self.log.get_by_role("listitem").filter(has=self.page.get_by_text(text, exact=True))

    async def texts(self) -> list[str]:
        """What was said, oldest first, as it stands on the screen."""
        return await self.log.locator(".said").all_inner_texts()

    async def id(self) -> str:
        """The customer's id, which follows from what the shop's page has stored."""
        return customer_id_of(await self.page.evaluate("(key) => localStorage.getItem(key)", TOKEN_KEY))

    async def second_tab(self, path: str = "/") -> Customer:
        tab = Customer(self.program, self.context, self.watch, await self.context.new_page())
        await tab.visit(path)
        return tab

    async def leave(self) -> None:
        await self.page.close()


class Staff:
    """Somebody at the inbox."""

    def __init__(self, program: Program, context: BrowserContext, watch: Watch, page: Page) -> None:
        self.program = program
        self.context = context
        self.watch = watch
        self.page = page
        self.list = page.get_by_role("list", name="Conversations")
        self.log = page.get_by_role("log", name="Messages")
        self.field = page.get_by_role("textbox", name="Reply")
        self.route = page.locator("#reply-route")
        self.header = page.locator("thread-header")
        self.heading = self.header.get_by_role("heading")

    async def log_in(self, email: str) -> None:
        await self.page.goto(f"{self.program.inbox}/inbox")
        await self.log_in_here(email)

    async def log_in_here(self, email: str) -> None:
        """On the login page, wherever it leads afterwards."""
        await self.page.get_by_label("E-mail").fill(email)
        await self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        await self.page.get_by_role("button", name="Log in").click()
        await self.ready()

    async def visit(self, path: str = "/inbox") -> None:
        await self.page.goto(f"{self.program.inbox}{path}")
        await self.ready()

    async def ready(self) -> None:
        """Until the inbox is live: the account's button, which a phone hides, knows who it is."""
        await expect(self.page.locator(".account-button")).to_contain_text(re.compile(r"\w"))

    def row(self, text: str) -> Locator:
        """The row whose name or latest message has this in it."""
        return self.list.get_by_role("listitem").filter(has_text=text)

    async def open(self, text: str) -> None:
        """Open the conversation whose row has this in it."""
        await self.row(text).get_by_role("link").click()
        await expect(self.field).to_be_visible()

    async def reply(self, text: str) -> None:
        await self.field.fill(text)
        await self.field.press("Enter")
        await expect(self.message(text)).to_be_visible()

    async def show(self, name: str) -> None:
        """Go to a filter of the section: All open, Unread or Closed."""
        await self.page.get_by_role("navigation", name="Sections").get_by_role("link", name=name).click()
        await expect(
            self.page.get_by_role("region", name="Conversations").get_by_role("heading", name=name)
        ).to_be_visible()

    def message(self, text: str) -> Locator:
        return self.log.locator("thread-message").filter(has=self.page.get_by_text(text, exact=True))

    def mark(self, text: str, name: str | re.Pattern[str]) -> Locator:
        """What became of the message, as it is read out."""
        return self.message(text).get_by_role("img", name=name, exact=isinstance(name, str))

    def line(self, text: str) -> Locator:
        """An event line of the thread."""
        return self.log.get_by_text(text, exact=True)

    async def texts(self) -> list[str]:
        """What was said, oldest first, as it stands on the screen."""
        return await self.log.locator(".bubble").all_inner_texts()

    async def second_tab(self, path: str = "/inbox") -> Staff:
        tab = Staff(self.program, self.context, self.watch, await self.context.new_page())
        await tab.visit(path)
        return tab
