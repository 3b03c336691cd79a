"""One browser for the whole run, one demo for whoever needs nothing special, and windows that are looked through at
the end of each test.

Staff log in once: the door counts tries from one address, and a hundred tests would look like somebody who guesses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState, async_playwright

from tests.browser.faces import Customer, Staff
from tests.browser.program import LEO, Program, running
from tests.browser.windows import Windows, chromium


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright, chromium(playwright, chromium_path) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    """The demo for tests that bring their own customers and look at nobody else's."""
    async with running(tmp_path_factory.mktemp("demo")) as program:
        yield program


@pytest.fixture
def program(shared_demo: Program) -> Program:
    """The demo that `customer` and `staff` go to. A module with a demo of its own overrides this."""
    return shared_demo


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser, program: Program) -> AsyncIterator[Windows]:
    opened = Windows(browser, [program.shop, program.inbox, program.mail])
    yield opened
    await opened.close()


class MakeCustomer(Protocol):
    def __call__(self, path: str | None = "/", **options: Any) -> Awaitable[Customer]:
        """Somebody who has just come to this page of the shop (None: to none yet)."""


class MakeStaff(Protocol):
    def __call__(self, email: str = LEO, path: str = "/inbox", **options: Any) -> Awaitable[Staff]:
        """Somebody of the staff, logged in."""


@pytest.fixture
def customer(windows: Windows, program: Program) -> MakeCustomer:
    async def make(path: str | None = "/", **options: Any) -> Customer:
        context, watch = await windows.profile(**options)
        made = Customer(program, context, watch, await context.new_page())
        if path is not None:
            await made.visit(path)
        return made

    return make


@pytest.fixture(scope="session")
def logins() -> dict[tuple[str, str], StorageState]:
    """The cookies of who has logged in, by the demo's address and their own."""
    return {}


@pytest.fixture
def staff(windows: Windows, program: Program, logins: dict[tuple[str, str], StorageState]) -> MakeStaff:
    async def make(email: str = LEO, path: str = "/inbox", **options: Any) -> Staff:
        known = logins.get((program.inbox, email))
        context, watch = await windows.profile(storage_state=known, **options)
        made = Staff(program, context, watch, await context.new_page())
        if known is None:
            await made.log_in(email)
            # Without what the page has stored: that is of this window, and not of who logs in.
            logins[program.inbox, email] = StorageState(cookies=(await context.storage_state())["cookies"], origins=[])
            if path == "/inbox":
                return made
        await made.visit(path)
        return made

    return make
