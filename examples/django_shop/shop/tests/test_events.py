"""What each page tells journeykit."""

from unittest import mock

from journeykit.web.django import kit
from shop.models import Cart, Customer, Order, Payment

from .shop import ShopTestCase


class VisitTests(ShopTestCase):
    def test_a_visit_is_one_event(self):
        """A page that somebody opens is one event of the standard name, in either language."""
        for path, name in (
            ("/", "Promotion Viewed"),
            ("/ar/", "Promotion Viewed"),
            ("/promotions/long-way-home", "Promotion Clicked"),
            ("/products", "Product List Viewed"),
            ("/products?category=keep-warm", "Product List Viewed"),
            ("/products?q=wool", "Products Searched"),
            ("/products/soup-mug", "Product Viewed"),
            ("/ar/products/soup-mug", "Product Viewed"),
            ("/basket", "Cart Viewed"),
        ):
            with self.subTest(path=path):
                self.customer.get(path)
                [event] = self.events()
                self.assertEqual(event.name, name)
                self.assertTrue(event.customer.anonymous_id)

    def test_a_product_is_the_same_in_each_language(self):
        """What is told of a product does not depend on the language of the page."""
        for path in ("/products/soup-mug", "/ar/products/soup-mug"):
            self.customer.get(path)
        english, arabic = self.events()
        self.assertEqual(english.properties, arabic.properties)
        self.assertEqual(english.properties["name"], "The Soup Mug")

    def test_a_page_is_named_by_its_view(self):
        """An event's page is the view, whatever the language and the address."""
        self.customer.get("/ar/products/soup-mug")
        [event] = self.events()
        self.assertEqual(event.context["page"], {"name": "catalogue:product"})

    def test_an_error_page_is_no_visit(self):
        """A page that is not there is no page view."""
        for path in ("/products/tent", "/products?category=tents", "/orders/D-1"):
            self.assertEqual(self.customer.get(path).status_code, 404, path)
        self.assertEqual(self.events(), [])

    def test_what_nobody_looks_at_is_no_visit(self):
        """Neither a HEAD nor a page fetched ahead of a click is a page view."""
        self.customer.client.head("/products/soup-mug")
        self.customer.get("/products/soup-mug", headers={"Sec-Purpose": "prefetch;prerender"})
        self.assertEqual(self.events(), [])

    def test_a_search_tells_how_much_it_found(self):
        """A search without results can be told from one with results."""
        for words, results in (("WOOL hat", 1), ("drone", 0)):
            self.customer.get("/products", data={"q": words})
            [event] = self.events()
            self.assertEqual(
                (event.properties["query"], event.properties["results"]), (words, results)
            )

    def test_who_wants_no_questions_is_asked_none(self):
        """The button under "What we note down" is heard by journeykit, without the shop's help."""
        person = {"Sec-Fetch-Site": "same-origin", "User-Agent": "Mozilla/5.0"}
        self.customer.get("/")
        answer = self.customer.client.post("/journeykit/v1/prompts", headers=person)
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(self.names()[-1], "customer.consented")
        asked = []
        for somebody in (self.customer, self.another):
            somebody.go_to_payment()
            page = somebody.get(somebody.pay().headers["Location"], headers=person)
            asked.append(b"journeykit-form" in page.content)
        self.assertEqual(asked, [False, True])


class BasketTests(ShopTestCase):
    def test_the_basket_tells_each_difference(self):
        """Changing a quantity adds or removes the difference, under one cart id."""
        self.customer.post("/basket/add/soup-mug", quantity=2)
        for quantity in (5, 4, 4, 0):
            self.customer.post("/basket/change/soup-mug", quantity=quantity)
        found = self.events()
        told = [("Product Added", 2), ("Product Added", 3)]
        told += [("Product Removed", 1), ("Product Removed", 4)]
        self.assertEqual(len({event.properties["cart_id"] for event in found}), 1)
        self.assertEqual(found[0].properties["price"], 21.0)
        self.assertEqual([(event.name, event.properties["quantity"]) for event in found], told)

    def test_a_coupon_counts_or_is_denied_with_a_reason(self):
        """A coupon is entered, and then applied or denied."""
        self.customer.post("/basket/add/soup-mug", quantity=1)
        self.events()
        for code, outcome, reason in (
            (" dawdle10 ", "Coupon Applied", None),
            ("SPRING", "Coupon Denied", "expired"),
            ("LONGWAY20", "Coupon Denied", "below_minimum"),
            ("FREE", "Coupon Denied", "unknown"),
        ):
            with self.subTest(code=code):
                self.customer.post("/basket/coupon", coupon=code)
                entered, then = self.events()
                self.assertEqual((entered.name, then.name), ("Coupon Entered", outcome))
                self.assertEqual(then.properties.get("reason"), reason)
                self.assertEqual(then.properties.get("discount"), None if reason else 2.1)


class CheckoutTests(ShopTestCase):
    def test_a_checkout_tells_every_step(self):
        """From the start of the checkout to the order, each step is told in order."""
        self.customer.post("/basket/add/porch-lantern", quantity=2)
        self.customer.go_to_payment("soup-mug")
        self.events()
        self.customer.get("/checkout/payment")
        self.customer.pay()
        found = self.events()
        self.assertEqual(
            [event.name for event in found],
            [
                "Checkout Step Viewed",
                "Payment Info Entered",
                "Checkout Step Completed",
                "Order Completed",
            ],
        )
        order = found[-1]
        self.assertEqual((order.properties["revenue"], order.properties["shipping"]), (129.0, 0.0))
        self.assertEqual([item["quantity"] for item in order.properties["products"]], [2, 1])
        self.assertEqual(order.properties["cart_id"], found[0].properties["cart_id"])
        self.assertEqual(order.properties["order_id"], Order.objects.get().number)

    def test_an_order_that_is_rolled_back_is_not_told(self):
        """Where the order cannot be kept, neither it nor what belongs to it is recorded."""
        self.customer.go_to_payment()
        self.events()
        with mock.patch.object(Cart, "delete", side_effect=LookupError):
            self.assertRaises(LookupError, self.customer.pay)
        self.assertEqual(self.names(), ["Payment Info Entered"])
        self.assertFalse(Order.objects.exists())
        self.assertFalse(Payment.objects.exists())
        self.customer.pay()
        self.assertEqual(self.names()[-1], "Order Completed")

    def test_a_declined_card_is_told_with_its_reason(self):
        """A declined payment says why, is kept without the card, and is followed by no order."""
        self.customer.go_to_payment()
        self.events()
        self.assertEqual(self.customer.pay("4000 0000 0000 9995").status_code, 402)
        entered, declined = self.events()
        told = (entered.name, declined.name, declined.properties["reason"])
        reason = "insufficient_funds"
        self.assertEqual(told, ("Payment Info Entered", "Payment Declined", reason))
        payment = Payment.objects.get()
        self.assertEqual((payment.refused_for, payment.order), (reason, None))

    def test_a_mistyped_card_is_no_payment(self):
        """A number with a swapped digit is sent back before anybody is asked for money."""
        self.customer.go_to_payment()
        self.events()
        self.assertEqual(self.customer.pay("4242 4242 4242 4224").status_code, 422)
        self.assertEqual(self.events(), [])

    def test_a_card_is_not_tracked(self):
        """Nothing that journeykit records holds the number of a card, declined or not."""
        self.customer.go_to_payment()
        self.customer.pay("4000 0000 0000 0002")
        self.customer.pay("4242 4242 4242 4242")
        self.assertIn("Payment Declined", self.names())
        for stored in kit.store.read(None, 10_000):
            data = stored.entry.body.replace(b" ", b"")
            self.assertNotIn(b"4242424242424242", data)
            self.assertNotIn(b"4000000000000002", data)

    def test_a_parcel_arrives_once(self):
        """Who has bought says that it has arrived: once, and nobody else can."""
        self.customer.go_to_payment()
        order = self.customer.pay().headers["Location"].partition("?")[0]
        self.events()
        self.assertEqual(self.another.post(f"{order}/delivered").status_code, 404)
        for _ in range(2):
            self.customer.post(f"{order}/delivered")
        [event] = [event for event in self.events() if event.name == "Order Delivered"]
        self.assertEqual(event.properties["order_id"], order.rpartition("/")[2])
        self.assertContains(self.customer.get(order), "there since")


class AccountTests(ShopTestCase):
    def test_an_account_joins_the_visits_before_it(self):
        """Signing up is a fact that ties the anonymous visitor to the account."""
        self.customer.get("/products/soup-mug")
        [before] = self.events()
        self.customer.sign_up()
        self.customer.get("/")
        self.customer.post("/account/sign-out")
        found = self.events()
        self.assertEqual(
            [event.name for event in found],
            ["customer.identified", "Signed Up", "Promotion Viewed", "Signed Out"],
        )
        self.assertIsNone(before.customer.user_id)
        ada = str(Customer.objects.get().pk)
        self.assertEqual({event.customer.user_id for event in found}, {ada})
        visitors = {event.customer.anonymous_id for event in (before, *found)}
        self.assertEqual(len(visitors), 1)

    def test_whoever_comes_after_a_sign_out_is_somebody_else(self):
        """At the same browser, the pages behind a sign-out are those of another visitor."""
        self.customer.sign_up()
        self.customer.post("/account/sign-out")
        self.customer.get("/")
        *hers, last = self.events()
        self.assertIsNone(last.customer.user_id)
        before = {event.customer.anonymous_id for event in hers}
        self.assertNotIn(last.customer.anonymous_id, before)

    def test_coming_back_is_signed_in(self):
        """Signing in at another browser identifies the same customer."""
        self.customer.sign_up()
        self.events()
        typed = {"email": "ADA@example.com", "password": "slowly, slowly"}
        self.another.post("/account/sign-in", **typed)
        self.assertEqual(self.names(), ["customer.identified", "Signed In"])
        self.another.post("/account/sign-in", email="ada@example.com", password="wrong")
        self.assertEqual(self.events(), [])

    def test_staff_are_no_customers(self):
        """Who keeps the shop is not identified, neither in the admin nor in the shop."""
        Customer.objects.create_superuser("keeper@example.com", "slowly, slowly", name="Keeper")
        typed = {"username": "keeper@example.com", "password": "slowly, slowly"}
        answer = self.customer.client.post("/admin/login/?next=/admin/", typed)
        self.assertRedirects(answer, "/admin/")
        self.customer.get("/")
        [event] = self.events()
        self.assertEqual(event.name, "Promotion Viewed")
        self.assertIsNone(event.customer.user_id)


class WordOfMouthTests(ShopTestCase):
    def test_a_review_tells_the_stars_and_not_the_words(self):
        """A review is told with its rating; its text stays in the shop."""
        self.customer.go_to_payment()
        self.customer.pay()
        self.events()
        path = "/products/soup-mug/review"
        self.customer.post(path, stars=5, author="Ada", body="Call me: 0123")
        [event] = self.events()
        self.assertEqual((event.name, event.properties["rating"]), ("Product Reviewed", 5))
        self.assertNotIn("0123", str(event))

    def test_a_shared_link_is_told(self):
        """Asking for a link to share is a share."""
        self.customer.post("/products/soup-mug/share")
        [event] = self.events()
        self.assertEqual(event.properties["share_via"], "link")
