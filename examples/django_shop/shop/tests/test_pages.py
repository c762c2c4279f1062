"""What people see, and what they may not do."""

import re
from html.parser import HTMLParser
from pathlib import Path

from django.conf import settings
from django.test import RequestFactory, SimpleTestCase, override_settings
from django.views.defaults import server_error

from shop.forms import CardForm
from shop.models import Cart, CartLine, Customer, Order, Product

from .shop import Customer as Visitor
from .shop import ShopTestCase

PAGES = (
    "/",
    "/products",
    "/products?q=drone",
    "/products?q=wool",
    "/products/soup-mug",
    "/products/soup-mug/review",
    "/products/soup-mug/share",
    "/basket",
    "/account",
    "/account/sign-in",
    "/account/sign-up",
    "/what-we-note-down",
)


class Tags(HTMLParser):
    """Collects every tag of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


class EveryPageTests(ShopTestCase):
    def test_every_page_is_self_sufficient_and_labelled(self):
        """Nothing inline, nothing from elsewhere; a language, a direction, one h1, labels."""
        self.customer.get("/basket")
        for page, attrs in (
            *((page, {"lang": "en", "dir": "ltr"}) for page in (*PAGES, "/behind-the-counter")),
            *((f"/ar{page}", {"lang": "ar", "dir": "rtl"}) for page in PAGES),
        ):
            with self.subTest(page=page):
                answer = self.customer.get(page)
                self.assertEqual(answer.status_code, 200)
                policy = answer.headers["Content-Security-Policy"]
                self.assertTrue(policy.startswith("default-src 'none'; script-src 'self'"), policy)
                self._is_in_order(Tags(answer.text).found, attrs)

    def _is_in_order(self, tags, language):
        self.assertIn(("html", language), tags)
        self.assertEqual(sum(tag == "h1" for tag, _ in tags), 1)
        labelled = {attrs.get("for") for tag, attrs in tags if tag == "label"}
        for tag, attrs in tags:
            self.assertNotEqual(tag, "style")
            self.assertTrue(tag != "script" or attrs["src"])
            self.assertNotIn("style", attrs)
            self.assertFalse([name for name in attrs if name.startswith("on")])
            for address in (attrs.get("src"), attrs.get("href") if tag == "link" else None):
                own = ("/static/", "/journeykit/static/")
                self.assertTrue(address is None or address.startswith(own), address)
            if tag in {"input", "select"} and attrs.get("type") not in {"hidden", "radio"}:
                self.assertIn(attrs["id"], labelled)

    def test_an_error_page_says_so_in_the_shop_s_words(self):
        """A page that is not there leads back, in either language."""
        for path, words in (("/tents", "This path ends here"), ("/ar/tents", "ينتهي هذا الطريق")):
            self.assertContains(self.customer.get(path), words, status_code=404)

    def test_the_shop_tripping_is_said_without_the_database(self):
        """The page for what went wrong needs nothing that may have gone wrong."""
        with self.assertNumQueries(0):
            page = server_error(RequestFactory().get("/"))
        self.assertContains(page, "We tripped", status_code=500)

    def test_another_s_name_is_not_the_shop_s(self):
        """Who asks for another host is told so, by a page that needs no session."""
        page = self.customer.get("/products", headers={"host": "elsewhere.example"})
        self.assertContains(page, "We don't follow", status_code=400)

    def test_every_picture_is_there(self):
        """Each product has its picture, and each picture its product."""
        static = Path(settings.BASE_DIR) / "shop" / "static"
        pictures = {file.name for file in (static / "art").iterdir()}
        self.assertEqual(pictures, {Path(item.art).name for item in Product.objects.all()})

    def test_personal_pages_are_not_kept(self):
        """No cache keeps a page of the checkout, of an order or of an account."""
        self.customer.go_to_payment()
        order = self.customer.pay().headers["Location"]
        for path in (order, "/basket", "/account", "/account/sign-in"):
            self.assertIn("no-store", self.customer.get(path).headers["Cache-Control"], path)


class LanguageTests(ShopTestCase):
    def test_each_page_leads_to_itself_in_the_other_language(self):
        """The link to the other language keeps the page and what is asked of it."""
        page = self.customer.get("/products?q=wool")
        self.assertContains(page, 'href="/ar/products?q=wool" lang="ar"')
        page = self.customer.get("/ar/products/soup-mug")
        self.assertContains(page, 'href="/products/soup-mug" lang="en"')

    def test_nothing_is_left_in_english(self):
        """No word of an Arabic page is English, but for what is written so everywhere."""
        self.customer.post("/ar/basket/add/soup-mug", quantity=3)
        walk = [self.customer.get(f"/ar{page}").text for page in PAGES]
        for code in ("DAWDLE10", "LONGWAY20", "SPRING", ""):
            self.customer.post("/ar/basket/coupon", coupon=code)
            walk += [self.customer.get("/ar/basket").text]
        walk.append(self.customer.post("/ar/checkout/address").text)
        self.customer.go_to_payment()
        self.customer.get("/")  # says in English what is in the basket
        walk.append(self.customer.post("/ar/checkout/payment").text)
        typed = {"expiry": "12/39", "code": "123"}
        for number in ("4000 0000 0000 0002", "4000 0000 0000 9995"):
            walk.append(self.customer.post("/ar/checkout/payment", number=number, **typed).text)
        order = self.customer.post("/ar/checkout/payment", number="4242424242424242", **typed)
        walk.append(self.customer.get(order.headers["Location"]).text)
        walk.append(self.customer.post("/ar/products/soup-mug/review").text)
        walk.append(self.customer.post("/ar/account/sign-up", name="", password="1").text)
        walk.append(self.customer.post("/ar/account/sign-in", email="e@e", password="1").text)
        known = {"ada", "stroll", "footpath", "zürich", "english", "journeykit", "id", "d"}
        known |= {"dawdle10", "longway20", "spring", "drone", "wool", "e", "example", "com"}
        for page in walk:
            text = re.sub(r"<(title|bdi|b)\b[^>]*>.*?</\1>", " ", page, flags=re.DOTALL)
            words = re.findall(r"[^\W\d_]+\w*", re.sub(r"<[^>]*>", " ", text))
            latin = {word.casefold() for word in words if word[0].isascii()}
            self.assertEqual({w for w in latin - known if not re.fullmatch(r"[0-9a-f]+", w)}, set())

    def test_the_figures_are_those_of_the_language(self):
        """Amounts and dates are written as the reader writes them."""
        self.assertContains(self.customer.get("/products/soup-mug"), "€21.00")
        self.assertContains(self.customer.get("/ar/products/soup-mug"), "21,00\u00a0€")

    def test_a_search_is_in_the_reader_s_language(self):
        """Words are looked for in the texts that the reader sees."""
        self.assertContains(self.customer.get("/ar/products", data={"q": "صوف"}), "القبعة")
        self.assertNotContains(self.customer.get("/products", data={"q": "صوف"}), "Hat")


class CheckoutTests(ShopTestCase):
    def test_a_forged_form_is_refused(self):
        """A POST without the session's token does nothing, and says so in the shop's words."""
        visitor = Visitor(enforce_csrf_checks=True)
        for token in ("", "guess", "é"):
            answer = visitor.post("/basket/add/soup-mug", csrfmiddlewaretoken=token)
            self.assertContains(answer, "This form is too old", status_code=403)
        self.assertContains(visitor.get("/basket"), "Nothing in it yet")

    def test_a_declined_card_keeps_the_basket(self):
        """The message is clear, the number is gone from the form, and another card works."""
        self.customer.go_to_payment()
        page = self.customer.pay("4000 0000 0000 0002")
        self.assertContains(page, "The card was declined", status_code=402)
        self.assertNotContains(page, 'value="4000', status_code=402)
        order = self.customer.pay()
        self.assertContains(self.customer.get(order.headers["Location"]), "Thank you, Ada")

    def test_a_mistyped_card_is_not_shown_again(self):
        """A form that comes back with a mistake has lost the card."""
        self.customer.go_to_payment()
        page = self.customer.pay("4242 4242 4242 4243")
        words = "That isn&#x27;t a card number."
        self.assertContains(page, words, count=2, status_code=422)
        self.assertNotContains(page, "4243", status_code=422)

    def test_an_order_is_placed_once(self):
        """Paying twice, as a double click does, gives one order."""
        self.customer.go_to_payment()
        self.customer.pay()
        self.customer.pay()
        self.assertEqual(Order.objects.count(), 1)
        self.assertFalse(Cart.objects.exists())

    def test_an_order_is_private(self):
        """Nobody else sees an order; its buyer does, also from an account opened later."""
        self.customer.go_to_payment()
        path = self.customer.pay().headers["Location"]
        self.assertEqual(self.another.get(path).status_code, 404)
        self.customer.sign_up()
        self.customer.post("/account/sign-out")
        self.assertEqual(self.customer.get(path).status_code, 404)
        self.another.post("/account/sign-in", email="ada@example.com", password="slowly, slowly")
        self.assertEqual(self.another.get(path).status_code, 200)

    def test_the_checkout_needs_a_basket_and_an_address(self):
        """Who types the address of a later step is sent back to the first that is missing."""
        for path in ("/checkout/address", "/ar/checkout/address"):
            answer = self.customer.get(path)
            self.assertRedirects(answer, path.replace("checkout/address", "basket"))
        self.assertRedirects(self.customer.post("/checkout"), "/basket")
        self.customer.post("/basket/add/soup-mug", quantity=1)
        self.assertRedirects(self.customer.get("/checkout/payment"), "/checkout/address")
        self.assertRedirects(self.customer.pay(), "/checkout/address")

    def test_an_address_with_gaps_is_asked_for_again(self):
        """What is missing is named beside its field, and what was typed is kept."""
        self.customer.post("/basket/add/soup-mug", quantity=1)
        typed = {"name": "Ada", "email": "ada", "street": "", "postcode": "8"}
        page = self.customer.post("/checkout/address", **typed)
        self.assertContains(page, "has an @ in it", status_code=422)
        self.assertContains(page, 'value="Ada"', status_code=422)
        self.assertContains(page, 'aria-invalid="true"', count=3, status_code=422)

    def test_what_a_basket_comes_to(self):
        """Coupons and shipping add up; a coupon that no longer counts takes nothing off."""
        mug = Product.objects.get(slug="soup-mug")
        for quantity, code, total in (
            (1, "", 2100 + 490),
            (1, "DAWDLE10", 1890 + 490),
            (3, "", 6300),
            (5, "LONGWAY20", 8400),
            (1, "LONGWAY20", 2100 + 490),
            (1, "SPRING", 2100 + 490),
        ):
            with self.subTest(quantity=quantity, code=code):
                cart = Cart(coupon_code=code)
                cart.lines = [CartLine(cart=cart, product=mug, quantity=quantity)]
                self.assertEqual(cart.total, total)

    def test_a_basket_holds_a_reasonable_number(self):
        """More than twenty of a thing, fewer than none and no number at all are put right."""
        for typed, held in (("50", 20), ("-3", 0), ("", 1), ("many", 2), ("1" * 30, 20)):
            self.customer.post("/basket/add/soup-mug", quantity=typed)
            found = CartLine.objects.values_list("quantity", flat=True).first() or 0
            with self.subTest(typed=typed):
                self.assertEqual(found, held)
            if held == 20:
                self.customer.post("/basket/change/soup-mug", quantity=0)


class AccountTests(ShopTestCase):
    def test_an_address_has_one_account(self):
        """A second account with the same e-mail address is refused in words."""
        self.customer.sign_up()
        page = self.another.sign_up("ADA@example.com")
        self.assertContains(page, "an account with this address already", status_code=422)

    def test_signing_in_leads_nowhere_else(self):
        """The page to return to is one of the shop's."""
        for number, target in enumerate(
            ("https://elsewhere.example", "//elsewhere.example", "/\\e.x", "products")
        ):
            typed = {"name": "Ada", "email": f"a{number}@example.com", "password": "slow, slow"}
            answer = Visitor().post(f"/account/sign-up?next={target}", **typed)
            self.assertRedirects(answer, "/account", msg_prefix=target)
        typed["email"] = "b@example.com"
        answer = self.customer.post("/account/sign-up?next=/products", **typed)
        self.assertRedirects(answer, "/products")

    def test_a_password_is_kept_as_a_hash(self):
        """What is kept of a password is no password."""
        self.customer.sign_up()
        self.assertNotIn("slowly", Customer.objects.get().password)


class ReviewTests(ShopTestCase):
    def test_only_buyers_review_and_once(self):
        """A review needs an order with the product, and each order counts once."""
        path = "/products/soup-mug/review"
        refused = self.customer.post(path, stars=5, author="Ada")
        self.assertContains(refused, "Reviews come from those who bought.", status_code=403)
        self.customer.go_to_payment()
        self.customer.pay()
        self.assertEqual(self.customer.post(path, stars=9, author="").status_code, 422)
        self.customer.post(path, stars=4, author="<b>Ada</b>", body="Good soup.")
        page = self.customer.get("/products/soup-mug")
        self.assertContains(page, "4 of 5 stars")
        self.assertContains(page, "&lt;b&gt;Ada")
        self.assertEqual(self.customer.post(path, stars=1, author="Ada").status_code, 403)


class StaffTests(ShopTestCase):
    def setUp(self):
        super().setUp()
        Customer.objects.create_superuser("keeper@example.com", "slowly, slowly", name="Keeper")
        self.keeper = Visitor()
        self.keeper.client.login(username="keeper@example.com", password="slowly, slowly")

    def test_behind_the_counter_shows_who_is_where(self):
        """The page goes from an invitation to figures and names."""
        self.assertContains(self.another.get("/behind-the-counter"), "Nobody has been in yet")
        self.another.get("/")
        self.customer.sign_up()
        self.customer.go_to_payment()
        self.customer.pay()
        self.events()
        page = self.customer.get("/behind-the-counter").text
        self.assertRegex(page, r"Ada</th>\s*<td><span class=\"stage purchase\">Purchase")
        self.assertRegex(page, r"Guest \w{4}</th>\s*<td><span class=\"stage awareness\">Awaren")
        self.assertIn("€21.00", page)

    def test_behind_the_counter_is_for_the_staff_of_a_shop_in_town(self):
        """Where others reach the shop, the page asks who it is."""
        with override_settings(LOCAL=False):
            answer = self.customer.get("/behind-the-counter")
            self.assertRedirects(answer, "/admin/login/?next=/behind-the-counter")
            self.assertEqual(self.keeper.get("/behind-the-counter").status_code, 200)

    def test_the_admin_shows_what_there_is(self):
        """Products can be changed, orders and payments only be looked at; under the same policy."""
        self.customer.go_to_payment()
        self.customer.pay()
        order, product = Order.objects.get(), Product.objects.first()
        for prefix in ("", "/ar"):
            for path in (
                "customer/",
                "customer/add/",
                f"customer/{Customer.objects.get().pk}/change/",
                "category/",
                "product/",
                f"product/{product.pk}/change/",
                "order/",
                f"order/{order.pk}/change/",
                "payment/",
                "review/",
            ):
                with self.subTest(path=path, prefix=prefix):
                    page = self.keeper.get(f"{prefix}/admin/shop/{path}")
                    self.assertEqual(page.status_code, 200)
                    self.assertIn("default-src 'none'", page.headers["Content-Security-Policy"])
        self.assertEqual(self.keeper.get("/admin/shop/order/add/").status_code, 403)
        self.assertContains(self.keeper.get(f"/admin/shop/order/{order.pk}/change/"), "€25.90")


class CardTests(SimpleTestCase):
    def test_what_is_wrong_with_a_card(self):
        """Each field of the card is judged on its own."""
        for number, expiry, code, wrong in (
            ("4242 4242 4242 4242", "12/39", "123", set()),
            ("4242-4242-4242-4242", "12/2039", "1234", set()),
            ("4242 4242 4242 4243", "12/39", "123", {"number"}),
            ("٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", "12/39", "123", {"number"}),
            ("", "", "", {"number", "expiry", "code"}),
            ("4242424242424242", "01/20", "12", {"expiry", "code"}),
            ("4242424242424242", "13/39", "abc", {"expiry", "code"}),
        ):
            form = CardForm({"number": number, "expiry": expiry, "code": code})
            self.assertEqual(set(form.errors), wrong, (number, expiry, code))
