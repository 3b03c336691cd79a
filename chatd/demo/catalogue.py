"""What the demo shop sells. Prices are integer minor units (cents).

The names are chosen so that both sides of feature C1 can be seen: a name shorter than 41 characters stands in the
conversation when the product is put into the cart, a longer one does not. The bowl has 40, the teapot 41.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

CURRENCY = "EUR"
QUANTITY_MAX = 20
SHIPPING = 690
SHIPPING_FREE_FROM = 8_000


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on the shelf. `slug` is its key in addresses, the cookie and the cart that chatd is told of."""

    slug: str
    name: str
    price: int
    kind: str
    line: str
    story: str
    facts: tuple[tuple[str, str], ...]


_SHELF = (
    Product(
        slug="dawn-mug",
        name="Dawn mug",
        price=2800,
        kind="Cups",
        line="For the first coffee, before anybody else is up.",
        story="Thrown in one pull and dipped once, so that the cream runs over the terracotta where it likes."
        " The handle takes three fingers of a cold hand. No two skies are the same.",
        facts=(("Holds", "30 cl"), ("Size", "9 cm wide, 10 cm high"), ("Dishwasher", "Yes")),
    ),
    Product(
        slug="fjord-bowl",
        name="Fjord bowl for soup, salad or Sunday fog",
        price=5400,
        kind="Bowls",
        line="Deep blue above the waterline, bare clay below.",
        story="A wide bowl on a narrow foot. The waterline is poured by hand and brushed with ash, which melts"
        " into the white edge of foam.",
        facts=(("Holds", "1.4 l"), ("Size", "26 cm wide, 11 cm high"), ("Dishwasher", "Yes")),
    ),
    Product(
        slug="tidewater-vase",
        name="Tidewater vase",
        price=8900,
        kind="Vases",
        line="Seven lines of foam, counted on a calm day.",
        story="Coiled, not thrown, which is why the shoulder is a little broader on the side of the window."
        " Happy with a single branch.",
        facts=(("Size", "19 cm wide, 34 cm high"), ("Watertight", "Yes"), ("Weight", "1.9 kg")),
    ),
    Product(
        slug="moss-teapot",
        name="Moss teapot with a polished bamboo handle",
        price=11200,
        kind="Tea",
        line="Pours without a drop. We tried a hundred spouts.",
        story="The green comes from spruce ash of our own stove. The strainer is part of the body, the lid"
        " stays on when you pour the last cup, and the bamboo stays cool.",
        facts=(("Holds", "1.1 l, four cups"), ("Size", "24 cm with the spout"), ("Dishwasher", "Better by hand")),
    ),
    Product(
        slug="hearth-plates",
        name="Hearth plates, set of four in oat and charcoal",
        price=13600,
        kind="Plates",
        line="Two light, two dark, for people who like to swap.",
        story="Flat enough for bread, deep enough for gravy. They stack without a sound because the foot is left soft.",
        facts=(("Size", "27 cm"), ("In the box", "4 plates"), ("Dishwasher", "Yes"), ("Oven", "Up to 220 °C")),
    ),
    Product(
        slug="snowfield-platter",
        name="Snowfield serving platter, oval, with a blue-white glaze that breaks like ice",
        price=14900,
        kind="Plates",
        line="For the fish you caught, or say you did.",
        story="The glaze cracks as it cools; you hear it sing for an hour after the kiln is opened. The cracks"
        " are sealed and safe for food.",
        facts=(("Size", "42 by 18 cm"), ("Weight", "1.6 kg"), ("Dishwasher", "Better by hand")),
    ),
    Product(
        slug="midnight-cup",
        name="Midnight espresso cup",
        price=1900,
        kind="Cups",
        line="Small, dark, and wide awake.",
        story="Cobalt slip under a clear glaze, with two strokes of green and blue that were the sky of 14"
        " January. Comes with its saucer.",
        facts=(("Holds", "7 cl"), ("Size", "6 cm wide, 6 cm high"), ("Dishwasher", "Yes")),
    ),
    Product(
        slug="birch-candles",
        name="Birch candle holders, three",
        price=4700,
        kind="Light",
        line="A small wood on the windowsill.",
        story="The bark is scratched through white slip into dark clay. Each holder takes a common dinner candle.",
        facts=(("Size", "7, 12 and 17 cm high"), ("In the box", "3 holders, candles not included")),
    ),
    Product(
        slug="longtable-carafe",
        name="Long table carafe",
        price=6900,
        kind="Table",
        line="Water for six, or wine for two.",
        story="The neck fits a hand, the raw clay below keeps the water cool. Turned slightly out of round so"
        " that it never rolls in a basket.",
        facts=(("Holds", "1 l"), ("Size", "13 cm wide, 28 cm high"), ("Dishwasher", "Yes")),
    ),
)

PRODUCTS = MappingProxyType({product.slug: product for product in _SHELF})


class CartLine(msgspec.Struct, frozen=True):
    product: Product
    quantity: int

    @property
    def total(self) -> int:
        return self.product.price * self.quantity


def read_cart(cookie: str) -> list[CartLine]:
    """The cart of a cookie such as `dawn-mug:2.fjord-bowl:1`. The cookie is the customer's to edit: what makes no sense
    in it is left out, and no quantity goes above `QUANTITY_MAX`."""
    lines: dict[str, CartLine] = {}
    for entry in cookie[:1_000].split("."):
        slug, _, quantity = entry.partition(":")
        if slug in PRODUCTS and quantity.isascii() and quantity.isdigit() and int(quantity[:4]) > 0:
            lines[slug] = CartLine(PRODUCTS[slug], min(int(quantity[:4]), QUANTITY_MAX))
    return list(lines.values())


def write_cart(lines: list[CartLine]) -> str:
    return ".".join(f"{line.product.slug}:{line.quantity}" for line in lines)


def change_cart(lines: list[CartLine], slug: str, quantity: int, *, add: bool = False) -> list[CartLine]:
    """The cart with this quantity of one product, or that much more of it; none of it takes it out."""
    if slug not in PRODUCTS:
        return lines
    quantities = {line.product.slug: line.quantity for line in lines}
    quantities[slug] = min(max(quantity + (quantities.get(slug, 0) if add else 0), 0), QUANTITY_MAX)
    return [CartLine(PRODUCTS[slug], number) for slug, number in quantities.items() if number]


def money(cents: int) -> str:
    return f"€{cents // 100}.{cents % 100:02d}"
