"""Pictures of bubble, inbox, mail and shop, taken from the running demo: `python -m tests.screenshots`.

Without arguments it makes those of the README, in docs/pictures. With `--review FOLDER` it makes every face at three
widths, light and dark, with nothing in it, with an ordinary day and with the worst one, for people to look at.

Pictures are reduced to 256 colours when Pillow is there, which makes them a third of the size.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
from playwright.async_api import Browser, BrowserContext, Page, StorageState, async_playwright, expect

from chatd.config import Settings
from tests.browser.days import DAYS, Day, live_through
from tests.browser.faces import Customer, Staff
from tests.browser.past import Person, before
from tests.browser.program import LEO, Program, running
from tests.browser.windows import Windows, chromium

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
COLOURS = 256
MAIL_MS = 60_000
TOPICS_SECONDS_MAX = 90
TOPICS_SECONDS_QUIET = 3

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
DESKTOP, TABLET, PHONE = (1440, 900), (1024, 768), (390, 844)
SIZES = {"1440": DESKTOP, "1024": TABLET, "390": PHONE}


def afternoon() -> str:
    """The time zone in which it is between two and three in the afternoon now. (`Etc/GMT-5` is five hours east.)"""
    east = (14 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-east:+d}"


class Studio:
    """A demo with a past, the people in it, and the camera."""

    def __init__(
        self, program: Program, browser: Browser, day: Day, people: dict[str, Person], folder: Path, time_zone: str
    ) -> None:
        self._program = program
        self._windows = Windows(browser, [program.shop, program.inbox, program.mail])
        self._day = day
        self._people = people
        self._folder = folder
        self._login: StorageState | None = None
        self._time_zone = time_zone

    async def _profile(self, size: tuple[int, int], scheme: Scheme, **options: Any) -> tuple[BrowserContext, Any]:
        phone = size == PHONE
        return await self._windows.profile(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            device_scale_factor=2 if phone else 1,
            is_mobile=phone,
            has_touch=phone,
            timezone_id=self._time_zone,
            **options,
        )

    async def customer(
        self, key: str, path: str, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
    ) -> Customer:
        person = self._people.get(key)
        storage = None if person is None else person.storage(self._program.shop)
        context, watch = await self._profile(size, scheme, storage_state=storage)
        made = Customer(self._program, context, watch, await context.new_page())
        await made.visit(path)
        return made

    async def staff(self, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light") -> Staff:
        context, watch = await self._profile(size, scheme, storage_state=self._login)
        made = Staff(self._program, context, watch, await context.new_page())
        if self._login is None:
            await made.log_in(LEO)
            self._login = await context.storage_state()
        else:
            await made.visit()
        return made

    async def open_shown(self, member: Staff) -> None:
        """Open the conversation that the day is about."""
        if self._day.shown is not None:
            await member.visit(f"/inbox/{self._people[self._day.shown].conversation}")
            await expect(member.field).to_be_visible()

    async def take(self, page: Page, name: str) -> None:
        """When nothing moves any more. The pointer is put where it points at nothing."""
        await page.mouse.move(0, 0)
        await page.evaluate("document.fonts.ready")
        await page.wait_for_load_state("networkidle")
        path = self._folder / f"{name}.png"
        await page.screenshot(path=path, animations="disabled", caret="hide")
        _reduce(path)
        print(f"{path.stat().st_size // 1024:5} KB  {name}")

    async def close(self) -> None:
        await self._windows.close()


def _reduce(path: Path) -> None:
    try:
        image: Any = importlib.import_module("PIL.Image")
    except ImportError:
        return
    with image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, kmeans=2, dither=image.Dither.NONE).save(path, optimize=True)


@contextlib.asynccontextmanager
async def studio(chromium_path: str, content: str, folder: Path) -> AsyncIterator[Studio]:
    """A demo after this day, in a folder that is gone afterwards."""
    day = DAYS[content]
    people: dict[str, Person] = {}
    time_zone = afternoon()  # of all pictures, also when the hour is over before the last one
    os.environ["TZ"] = time_zone  # where the shop is, too

    async def seed(settings: Settings, shop_url: str) -> None:
        async with before(settings, shop_url) as past:
            people.update(await live_through(past, day))

    with tempfile.TemporaryDirectory() as directory:
        async with (
            running(Path(directory), {"CHATD_DIGEST_QUIET_SECONDS": "1", "CHATD_TOPICS": "on"}, seed) as program,
            async_playwright() as playwright,
            chromium(playwright, chromium_path) as browser,
        ):
            if content == "usual":  # on the others nothing is said that anybody could be certain of
                await read_for_topics(program)
            made = Studio(program, browser, day, people, folder, time_zone)
            yield made
            await made.close()


async def read_for_topics(program: Program) -> None:
    """Wait until the day has its topics: some have been found, and then none for a while."""
    found, unchanged = 0, 0
    async with asyncio.timeout(TOPICS_SECONDS_MAX):
        while unchanged < TOPICS_SECONDS_QUIET:
            await asyncio.sleep(1)
            with contextlib.closing(sqlite3.connect(program.settings.database_path)) as database:
                (now,) = database.execute("SELECT count(*) FROM events WHERE record LIKE '%topics_found%'").fetchone()
            unchanged = unchanged + 1 if now and now == found else 0
            found = now


# ---------------------------------------------------------------- the pictures of the README


async def readme(chromium_path: str, folder: Path) -> None:
    async with studio(chromium_path, "usual", folder) as made:
        leo = await made.staff()
        # Somebody asked from the bubble, left, and finds the answer in the mail.
        tom = await made.customer("tom", "/products/tidewater-vase")
        await tom.open_chat()
        await tom.say("One more question: is the Tidewater vase watertight, or only for dry branches?")
        await leo.open("One more question")
        await tom.leave()
        await expect(leo.route).to_contain_text("Will be e-mailed")
        await leo.reply("It is watertight, and happy with a single branch.")
        await leo.reply("We fill each one overnight before it leaves the studio, so you can trust it on oak.")

        mia = await made.customer("mia", "/")
        visitor = await made.customer("visitor", "/products/moss-teapot")
        for who in (mia, visitor):
            await expect(who.launcher).to_be_visible()
        await made.open_shown(leo)
        await expect(leo.header).to_contain_text("Online")
        await mia.open_chat()
        await made.take(mia.page, "bubble-light")
        for scheme in SCHEMES:
            window = await made.staff(DESKTOP, scheme)
            await made.open_shown(window)
            await made.take(window.page, f"inbox-{scheme}")
        phone = await made.staff(PHONE)
        await made.take(phone.page, "inbox-phone")
        dark = await made.customer("mia", "/", DESKTOP, "dark")
        await dark.open_chat()
        await made.take(dark.page, "bubble-dark")
        small = await made.customer("mia", "/", PHONE)
        await small.open_chat()
        await made.take(small.page, "bubble-phone")
        await take_mail(made, leo, "mail")


async def take_mail(made: Studio, member: Staff, name: str) -> None:
    """The newest mail, as the demo's mailbox shows it."""
    page = await member.context.new_page()
    await page.goto(member.program.mail)
    link = page.get_by_role("link").first
    await link.click(timeout=MAIL_MS)
    await page.frame_locator("#frame").get_by_role("link", name="Reply").wait_for()
    await made.take(page, name)


# ---------------------------------------------------------------- the pictures for people to look at


async def review(chromium_path: str, folder: Path) -> None:
    for content in DAYS:
        async with studio(chromium_path, content, folder) as made:
            shown = DAYS[content].shown or "nobody"
            for width, size in SIZES.items():
                for scheme in SCHEMES:
                    name = f"{content}-{width}-{scheme}"
                    await review_shop(made, name, shown, size, scheme)
                    await review_inbox(made, name, size, scheme)


async def review_shop(made: Studio, name: str, shown: str, size: tuple[int, int], scheme: Scheme) -> None:
    customer = await made.customer(shown, "/products/fjord-bowl", size, scheme)
    await expect(customer.launcher).to_be_visible()
    await made.take(customer.page, f"shop-{name}")
    await customer.open_chat()
    await made.take(customer.page, f"bubble-{name}")
    await customer.leave()


async def review_inbox(made: Studio, name: str, size: tuple[int, int], scheme: Scheme) -> None:
    member = await made.staff(size, scheme)
    await made.take(member.page, f"list-{name}")
    await made.open_shown(member)
    await made.take(member.page, f"inbox-{name}")
    await member.page.close()


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), default=PICTURES, help="Where the README's pictures go.")
@click.option("--review", "looked_at", type=click.Path(path_type=Path), help="Make those for people to look at, there.")
def main(folder: Path, looked_at: Path | None) -> None:
    chromium_path = os.environ.get("CHATD_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium_path:
        sys.exit("no Chromium; run: sudo apt-get install chromium")
    (looked_at or folder).mkdir(parents=True, exist_ok=True)
    asyncio.run(readme(chromium_path, folder) if looked_at is None else review(chromium_path, looked_at))


if __name__ == "__main__":
    main()
