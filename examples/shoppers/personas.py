"""Who comes in, and what they do. Each is a function of one visitor."""

from collections.abc import Callable

from .visitor import Visitor

GOOD_CARD, EMPTY_CARD, REFUSED_CARD = (
    "4242 4242 4242 4242",
    "4000 0000 0000 9995",
    "4000 0000 0000 0002",
)
SHELVES = ("find-your-way", "keep-warm", "look-closely", "come-home")
THINGS = (
    ("find-your-way", "honest-compass"),
    ("find-your-way", "map-of-good-benches"),
    ("find-your-way", "pocket-night-sky"),
    ("keep-warm", "two-cup-flask"),
    ("keep-warm", "long-way-home-socks"),
    ("keep-warm", "spare-hat"),
    ("look-closely", "hand-lens"),
    ("look-closely", "who-sings-there"),
    ("look-closely", "leaf-press"),
    ("come-home", "porch-lantern"),
    ("come-home", "soup-mug"),
)
SEARCHES = ("wool", "brass", "soup", "moss", "rain", "bird", "tent", "drone")
NAMES = ("Ada", "Bela", "Chidi", "Dora", "Emre", "Fadime", "Goran", "Hanna", "Ines", "Jun")
PLACES = (
    ("8001", "Zürich"),
    ("20095", "Hamburg"),
    ("1000-001", "Lisboa"),
    ("EH1 1YZ", "Edinburgh"),
)
PRAISE = (
    "Longer walks than planned, which I hold in its favour.",
    "My neighbour has asked to borrow it twice. I said it was shy.",
    "Does one thing, and does it well.",
    "",
)

COMPLAINTS = (
    "I typed my address twice.",
    "It did not say which of the two cards you took.",
    "",
)


def passer_by(visitor: Visitor) -> None:
    """Looks at the window, and walks on."""
    visitor.open("/")


def window_shopper(visitor: Visitor) -> None:
    """Looks at shelves and things."""
    visitor.open("/")
    if visitor.rng.random() < 0.4:
        visitor.click("/promotions/long-way-home")
    for _ in range(visitor.rng.randint(1, 3)):
        _look(visitor)


def searcher(visitor: Visitor) -> None:
    """Wants something in particular. It may not be here."""
    visitor.open("/")
    for words in visitor.rng.sample(SEARCHES, 2):
        visitor.search(words)


def cart_abandoner(visitor: Visitor) -> None:
    """Fills a basket, changes it, tries a coupon, and leaves it by the door."""
    visitor.open("/")
    slug = _put_in_basket(visitor)
    visitor.submit(f"/basket/change/{slug}", quantity="2")
    if visitor.rng.random() < 0.5:
        visitor.submit("/basket/coupon", coupon=visitor.rng.choice(("SPRING", "LONGWAY20", "FREE")))


def checkout_abandoner(visitor: Visitor) -> None:
    """Comes as far as the address, and remembers something else."""
    visitor.open("/")
    _put_in_basket(visitor)
    visitor.submit("/checkout")


def ditherer(visitor: Visitor) -> None:
    """Puts it in, and takes it out again."""
    visitor.open("/")
    slug = _put_in_basket(visitor)
    visitor.submit(f"/basket/change/{slug}", quantity="0")


def guest_buyer(visitor: Visitor) -> None:
    """Buys one thing, without an account, and may say how that was."""
    guest_purchase(visitor)
    if visitor.rng.random() < 0.6:
        visitor.answer(visitor.rng.uniform(0.6, 1))


def guest_purchase(visitor: Visitor) -> None:
    """Buys one thing, and stops on the page that says thank you."""
    visitor.open("/")
    _buy(visitor, "Guest")


def declined_then_pays(visitor: Visitor) -> None:
    """Has a second card, and says how easy that was."""
    visitor.open("/")
    _buy(visitor, visitor.rng.choice(NAMES), cards=(EMPTY_CARD, GOOD_CARD))
    visitor.answer(visitor.rng.uniform(0, 0.7), visitor.rng.choice(COMPLAINTS))


def declined_and_leaves(visitor: Visitor) -> None:
    """Has no second card, or no second thought."""
    visitor.open("/")
    _buy(visitor, visitor.rng.choice(NAMES), cards=(REFUSED_CARD,))


def loyal_customer(visitor: Visitor) -> None:
    """Opens an account, buys, comes back, signs in, buys again."""
    visitor.open("/")
    name, email = _sign_up(visitor)
    _buy(visitor, name)
    visitor.open("/account")
    visitor.submit("/account/sign-out")
    visitor.open("/account/sign-in")
    visitor.submit("/account/sign-in", email=email, password="one foot after another")
    _buy(visitor, name, coupon="DAWDLE10")


def advocate(visitor: Visitor) -> None:
    """Buys, waits for the parcel, and tells everybody."""
    visitor.open("/")
    name, _ = _sign_up(visitor)
    slug = _buy(visitor, name)
    order = visitor.path
    visitor.submit(f"{order}/delivered")
    visitor.answer(visitor.rng.uniform(0.5, 1), visitor.rng.choice(PRAISE))
    visitor.open(order)
    visitor.click(f"/products/{slug}/review")
    stars, words = str(visitor.rng.randint(4, 5)), visitor.rng.choice(PRAISE)
    visitor.submit(f"/products/{slug}/review", stars=stars, body=words, author=name)
    visitor.submit(f"/products/{slug}/share")


#: The persona, and how many in sixty are like that.
PERSONAS: tuple[tuple[Callable[[Visitor], None], int], ...] = (
    (passer_by, 8),
    (window_shopper, 13),
    (searcher, 9),
    (cart_abandoner, 6),
    (checkout_abandoner, 2),
    (ditherer, 2),
    (guest_buyer, 5),
    (declined_then_pays, 4),
    (declined_and_leaves, 3),
    (loyal_customer, 4),
    (advocate, 4),
)


def _look(visitor: Visitor) -> str:
    shelf, slug = visitor.rng.choice(THINGS)
    visitor.click(f"/products?category={shelf}")
    visitor.click(f"/products/{slug}")
    return slug


def _put_in_basket(visitor: Visitor) -> str:
    slug = _look(visitor)
    visitor.submit(f"/basket/add/{slug}", quantity="1")
    return slug


def _sign_up(visitor: Visitor) -> tuple[str, str]:
    name = visitor.rng.choice(NAMES)
    email = f"{name.lower()}.{visitor.rng.randrange(16**8):08x}@example.com"
    visitor.open("/account/sign-up")
    visitor.submit("/account/sign-up", name=name, email=email, password="one foot after another")
    return name, email


def _buy(
    visitor: Visitor, name: str, *, cards: tuple[str, ...] = (GOOD_CARD,), coupon: str = ""
) -> str:
    slug = _put_in_basket(visitor)
    if coupon:
        visitor.submit("/basket/coupon", coupon=coupon)
    visitor.submit("/checkout")
    postcode, city = visitor.rng.choice(PLACES)
    address = {"street": "Footpath 1", "postcode": postcode, "city": city}
    email = f"{name.lower()}@example.com"
    visitor.submit("/checkout/address", name=name, email=email, **address)
    for card in cards:
        visitor.submit("/checkout/payment", number=card, expiry="12/39", code="123")
    return slug
