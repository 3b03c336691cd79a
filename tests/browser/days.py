"""What a shop has in its inbox: on an ordinary afternoon, on the worst one, and before anybody has written.

A day is a list of what happened, each with how many minutes ago, so that pictures look alike whenever they are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from chatd.domain.people import Actor
from tests.browser.past import Past, Person
from tests.browser.program import ANA, LEO

HOUR = 60
DAY = 24 * HOUR


class Happened(msgspec.Struct, frozen=True):
    """`what`: says, leo, ana (they reply), named, cart, came, left, closed."""

    minutes_ago: float
    who: str
    what: str
    value: object = None


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """`unread` says how many of a customer's last messages nobody has read; everything else was read. Whoever is in
    `shown` is the one whose conversation pictures open."""

    names: Mapping[str, tuple[str, str]]
    happened: Sequence[Happened]
    unread: Mapping[str, int]
    shown: str | None


def _talk(who: str, *turns: tuple[float, str, object]) -> list[Happened]:
    return [Happened(minutes, who, what, value) for minutes, what, value in turns]


USUAL = Day(
    names={
        "mia": ("Mia Lind", "mia.lind@example.com"),
        "jonas": ("Jonas Bergström", "jonas@example.se"),
        "amelie": ("Amélie Roche", "amelie.roche@example.fr"),
        "xiaoyu": ("王小雨", "xiaoyu@example.cn"),
        "tom": ("Tom Whitaker", "tom.whitaker@example.co.uk"),
        "lena": ("Lena Fischer", "lena.fischer@example.de"),
        "elena": ("Elena García", "elena.garcia@example.es"),
        "kofi": ("Kofi Mensah", "kofi@example.com"),
        "ingrid": ("Ingrid Solberg", "ingrid.solberg@example.no"),
        "dmitri": ("Дмитрий Волков", "volkov@example.ru"),
        "sofia": ("Sofia Rossi", "sofia.rossi@example.it"),
    },
    happened=[
        *_talk(
            "mia",
            (1 * DAY + 200, "says", "Hi! I am looking for a wedding present. Is the Fjord bowl safe in the oven?"),
            (1 * DAY + 199, "named", None),
            (1 * DAY + 190, "leo", "Congratulations to the couple! Up to 220 °C, and it does not mind the dishwasher."),
            (1 * DAY + 184, "says", "Wonderful, thank you. I will sleep on it."),
            (1 * DAY + 180, "left", None),
            (21, "came", None),
            (19, "says", "Back again! I have decided on the bowl, and two mugs to go with it."),
            (20, "cart", {}),
            (18.4, "cart", {"fjord_bowl": 1}),
            (17.6, "cart", {"fjord_bowl": 1, "dawn_mug": 1}),
            (17.1, "cart", {"fjord_bowl": 1, "dawn_mug": 2}),
            (15, "leo", "A good choice, the blue of the waterline is in the mugs as well."),
            (14.4, "leo", "Shall we wrap them? Wool felt and a card, at no cost 🎁"),
            (12, "says", "Yes, please! Could the card say “For bright mornings”?"),
            (11.3, "says", "And can it be with them by the 4th of December?"),
            (9, "leo", "It will say just that. It leaves the studio tomorrow, so the 30th at the latest."),
            (7, "says", "You are the best ❤️"),
        ),
        *_talk(
            "visitor",
            (31, "came", None),
            (29, "says", "Do you ship to Norway, and who pays the customs?"),
            (25, "ana", "We do, and we pay them. What you see in the cart is what you pay."),
            (3, "says", "Perfect. Is the Moss teapot heavy when it is full?"),
        ),
        *_talk(
            "jonas",
            (95, "says", "Hej! My parcel came today."),
            (94, "named", None),
            (48, "says", "One of the four plates has a chip at the rim, about 3 mm."),
            (47, "says", "I can send a picture. What shall I do with it?"),
            (44, "left", None),
        ),
        *_talk(
            "xiaoyu",
            (64, "says", "你好，请问雪原盘可以寄到上海吗？"),
            (63, "named", None),
            (60, "left", None),
        ),
        *_talk(
            "amelie",
            (4 * HOUR, "says", "Bonjour, le vase Tidewater est-il encore disponible ?"),
            (4 * HOUR - 1, "named", None),
            (4 * HOUR - 10, "ana", "Bonjour Amélie ! Oui, il en reste un. Nous vous le gardons jusqu’à samedi."),
            (4 * HOUR - 15, "says", "Parfait, merci beaucoup !"),
            (4 * HOUR - 18, "left", None),
        ),
        *_talk(
            "tom",
            (6 * HOUR, "says", "Can I change the address of my order? We are moving house."),
            (6 * HOUR - 1, "named", None),
            (6 * HOUR - 8, "leo", "Of course. Write it here and we will have it changed before it ships."),
            (6 * HOUR - 14, "says", "14 Harbour Lane, Whitby YO21 3PU. Thank you, Leo!"),
            (6 * HOUR - 17, "leo", "Changed. A happy new home to you."),
            (6 * HOUR - 20, "left", None),
        ),
        *_talk(
            "lena",
            (1 * DAY + 60, "says", "Guten Tag, gibt es die Hearth plates auch einzeln?"),
            (1 * DAY + 59, "named", None),
            (1 * DAY + 40, "leo", "Guten Tag! Einzeln leider nicht, aber zwei und zwei tauschen wir gern."),
            (1 * DAY + 36, "left", None),
        ),
        *_talk(
            "elena",
            (1 * DAY + 320, "says", "¿Hacéis talleres de cerámica en verano?"),
            (1 * DAY + 318, "named", None),
            (1 * DAY + 300, "ana", "¡Sí! En julio, tres días. Te escribo en cuanto haya fechas."),
        ),
        *_talk(
            "kofi",
            (2 * DAY + 90, "says", "The carafe is even nicer than in the pictures. Thank you!"),
            (2 * DAY + 88, "named", None),
            (2 * DAY + 80, "leo", "That makes our day. Enjoy it!"),
        ),
        *_talk(
            "ingrid",
            (3 * DAY + 200, "says", "Do the candle holders drip on the table?"),
            (3 * DAY + 198, "named", None),
            (3 * DAY + 190, "ana", "They have a small lip, so they should not. If they do, we take them back."),
        ),
        *_talk(
            "dmitri",
            (4 * DAY + 100, "says", "Добрый день! Чашка дошла целой, спасибо."),
            (4 * DAY + 99, "named", None),
            (4 * DAY + 90, "leo", "Спасибо, что написали! Хорошего кофе ☕"),
            (4 * DAY + 80, "closed", None),
        ),
        *_talk(
            "sofia",
            (6 * DAY + 100, "says", "Is the invoice in the parcel or do you mail it?"),
            (6 * DAY + 99, "named", None),
            (6 * DAY + 90, "ana", "It is in your mail already; look for nordlys.example."),
            (6 * DAY + 80, "says", "Found it, thanks."),
            (6 * DAY + 70, "closed", None),
        ),
    ],
    unread={"jonas": 2, "xiaoyu": 1, "visitor": 1},
    shown="mia",
)

_LONG_WORD = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
_LONG_NAME = "Maximiliana Philippa Theodora von und zu Hohenstein-Wackerbarth auf Schloss Trauttmansdorff"
_ADDRESS = "a.very.long.local.part.that.goes.on.and.on.and.on@a-subdomain.of-another-subdomain.example-company.example"

HOSTILE = Day(
    names={
        "long": (_LONG_NAME, _ADDRESS),
        "word": (_LONG_WORD, "w@example.com"),
        "arabic": ("مريم عبد الرحمن", "maryam@example.com"),
        "hebrew": ("‏יעל כהן (Yael)", "yael@example.com"),
        "markup": ("<b>Bobby</b> & “Tables”; --", "bobby@example.com"),
        "marks": ("Z̷̢̛͎̙̪a͉̽l̸̬̓ģ̵͘ỏ̵", "zalgo@example.com"),
        "emoji": ("👩‍👩‍👧‍👦🏳️‍🌈", "family@example.com"),
        "chinese": ("司马相如歐陽修諸葛孔明上官婉兒慕容復東方朔", "long@example.cn"),
    },
    happened=[
        *_talk(
            "long",
            (90, "says", "I have a few questions."),
            (89, "named", None),
            (85, "says", " ".join(["A sentence of a customer who has time, and a teapot to describe."] * 60)[:4_000]),
            (
                80,
                "cart",
                {
                    "snowfield_platter": 20,
                    "hearth_plates": 20,
                    "moss_teapot": 20,
                    "fjord_bowl": 20,
                    "longtable_carafe": 20,
                    "birch_candles": 20,
                    "tidewater_vase": 20,
                    "dawn_mug": 20,
                },
            ),
            (
                70,
                "leo",
                f"The word is {_LONG_WORD}, see https://example.com/{'a-long-path/' * 14}?q={'x' * 80} for more.",
            ),
            (60, "says", "\n".join(f"Line {number} of a poem that was pasted" for number in range(1, 31))),
            (55, "says", "👍"),
            (54, "says", "a" * 400),
            (
                52,
                "leo",
                "السلام عليكم (that is Arabic) and שלום (Hebrew) in one line, with 123 and <script>alert(1)</script>",
            ),
            (
                50,
                "says",
                "<img src=x onerror=alert(1)> **bold** _it_ `code` [link](javascript:alert(1)) javascript:alert(1)",
            ),
            (49.5, "about", "Product interest"),
            (49.4, "about", "Returns/Delivered orders"),
            (49, "says", "www.example.com, mail me at someone@example.com or call +46 70 123 45 67"),
        ),
        *_talk(
            "word",
            (44, "says", _LONG_WORD * 3),
            (43, "named", None),
            (42, "about", "Returns/Delivered orders"),
            (41.5, "about", "Pricing/Discounts"),
        ),
        *_talk(
            "arabic",
            (40, "says", "مرحبا، هل يمكنكم شحن إبريق Moss إلى عمّان؟ السعر 112.00 يورو؟"),
            (39, "named", None),
            (38, "leo", "نعم! We ship to Amman, 5 to 7 days."),
            (37, "says", "شكرا جزيلا 🙏"),
        ),
        *_talk("hebrew", (35, "says", "האם הקערה בטוחה לתנור (oven)? 220°C"), (34, "named", None)),
        *_talk(
            "markup",
            (30, "says", "<script>alert('x')</script> &amp; &lt;b&gt; {{ 7*7 }} ${7*7} %s %n"),
            (29, "named", None),
        ),
        *_talk("marks", (26, "says", "Ḧ̴̡̻́ȩ̷̛̮l̶̰̈́l̸̬̈ớ̶̞, ẗ̶̢́h̷̪̏e̷̻͘r̵̼̂e̷͈̊"), (25, "named", None)),
        *_talk("emoji", (22, "says", "👩‍👩‍👧‍👦"), (21, "named", None)),
        *_talk("chinese", (18, "says", "這個茶壺可以裝多少水？" * 30), (17, "named", None)),
        *[Happened(12 - number / 2, "flood", "says", f"Hello? ({number} of 12)") for number in range(1, 13)],
        *[Happened(300 - number, f"crowd{number}", "says", f"Message of person {number}") for number in range(1, 31)],
    ],
    unread={
        "flood": 12,
        "long": 4,
        "word": 1,
        "arabic": 1,
        "emoji": 1,
        **{f"crowd{number}": 1 for number in range(1, 31)},
    },
    shown="long",
)

EMPTY = Day(names={}, happened=[], unread={}, shown=None)

DAYS: Mapping[str, Day] = MappingProxyType({"usual": USUAL, "hostile": HOSTILE, "empty": EMPTY})


async def live_through(past: Past, day: Day) -> dict[str, Person]:
    """Let all of it happen, in the order of time. Returns the people by their keys."""
    staff = {"leo": await past.staff(LEO), "ana": await past.staff(ANA)}
    people: dict[str, Person] = {}
    for one in sorted(day.happened, key=lambda one: -one.minutes_ago):
        past.minutes_ago(one.minutes_ago)
        person = people.setdefault(one.who, past.somebody(one.who))
        await _happens(past, person, one, day, staff)
    for key, person in people.items():
        past.minutes_ago(1)
        said = len(person.incoming) - day.unread.get(key, 0)
        if said > 0:
            for member in staff.values():
                await past.reads(member, person, person.incoming[said - 1])
    return people


async def _happens(past: Past, person: Person, one: Happened, day: Day, staff: Mapping[str, Actor]) -> None:
    if one.what == "says":
        await past.says(person, str(one.value))
    elif one.what in staff:
        await past.replies(staff[one.what], person, str(one.value))
    elif one.what == "named":
        await past.introduces(person, *day.names[one.who])
    elif one.what == "cart":
        assert isinstance(one.value, dict)
        await past.fills_cart(person, **one.value)
    elif one.what == "about":
        await past.adds_topic(staff["leo"], person, one.value)
    elif one.what == "came":
        await past.comes(person)
    elif one.what == "left":
        await past.leaves(person)
    else:
        await past.closes(staff["leo"], person)
