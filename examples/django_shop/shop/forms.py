"""What customers fill in."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from . import cards
from .models import MOST, Cart, Customer, Review

NO_EMAIL = _("An e-mail address has an @ in it.")


class Plain:
    """A form whose fields are called in the page what they are called here."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"auto_id": "%s", "label_suffix": "", **options})


def _attrs(autocomplete: str, **more: str) -> dict[str, str]:
    return {"autocomplete": autocomplete, **more}


class QuantityForm(Plain, forms.Form):
    """How many of something. Whatever is no number is as many as are usual."""

    quantity = forms.CharField(required=False)

    def __init__(self, data: Any, *, usual: int) -> None:
        super().__init__(data)
        self._usual = usual

    def clean_quantity(self) -> int:
        text = self.cleaned_data["quantity"]
        number = int(text) if text.lstrip("-").isdecimal() else self._usual
        return max(0, min(number, MOST))


class CouponForm(Plain, forms.Form):
    """A coupon, however it was typed."""

    coupon = forms.CharField(required=False)

    def clean_coupon(self) -> str:
        return self.cleaned_data["coupon"].upper()[:24]


class AddressForm(Plain, forms.ModelForm):
    """Where to?"""

    class Meta:
        model = Cart
        fields = ("name", "email", "street", "postcode", "city")
        labels = {
            "name": _("Name"),
            "email": _("E-mail address"),
            "street": _("Street and number"),
            "postcode": _("Postcode"),
            "city": _("Town or city"),
        }
        widgets = {
            "name": forms.TextInput(_attrs("name")),
            "email": forms.EmailInput(_attrs("email")),
            "street": forms.TextInput(_attrs("address-line1")),
            "postcode": forms.TextInput(_attrs("postal-code")),
            "city": forms.TextInput(_attrs("address-level2")),
        }
        error_messages = {
            "name": {"required": _("Please tell us whom the parcel is for.")},
            "email": {
                "required": _(
                    "Please give an e-mail address, so that we can say it is on its way."
                ),
                "invalid": NO_EMAIL,
            },
            "street": {"required": _("Please give street and number.")},
            "postcode": {"required": _("Please give the postcode.")},
            "city": {"required": _("Please give town or city.")},
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for field in self.fields.values():
            field.required = field.widget.is_required = True


class CardInput(forms.PasswordInput):
    """A field that anybody may look at while it is filled in, and that comes back empty."""

    input_type = "text"


class CardForm(Plain, forms.Form):
    """A card. It goes to the processor, and nowhere else: not to the database, not to an event."""

    number = forms.CharField(
        label=_("Card number"),
        max_length=23,
        widget=CardInput(_attrs("cc-number", inputmode="numeric")),
    )
    expiry = forms.CharField(
        label=_("Valid until (MM/YY)"), max_length=7, widget=CardInput(_attrs("cc-exp"))
    )
    code = forms.CharField(
        label=_("Security code"),
        max_length=4,
        widget=CardInput(_attrs("cc-csc", inputmode="numeric")),
    )
    _mistakes = {
        "number": _("That isn't a card number. Is a digit missing, or swapped?"),
        "expiry": _("Please give a month and year to come, such as 08/30."),
        "code": _("Three digits on the back of the card, or four on the front."),
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, words in self._mistakes.items():
            self.fields[name].error_messages["required"] = words

    def clean_number(self) -> str:
        return self._kept("number", cards.is_card_number)

    def clean_expiry(self) -> str:
        return self._kept("expiry", cards.is_in_future)

    def clean_code(self) -> str:
        return self._kept(
            "code", lambda code: code.isascii() and code.isdigit() and len(code) in {3, 4}
        )

    def _kept(self, name: str, is_right: Any) -> str:
        value: str = self.cleaned_data[name]
        if not is_right(value):
            raise ValidationError(self._mistakes[name])
        return value


class SignUpForm(Plain, forms.ModelForm):
    """Open an account."""

    password = forms.CharField(
        label=_("Password"),
        strip=False,
        help_text=_("At least 8 characters. A sentence is fine."),
        widget=forms.PasswordInput(_attrs("new-password", minlength="8")),
        error_messages={"required": _("At least 8 characters. A sentence is fine.")},
    )

    class Meta:
        model = Customer
        fields = ("name", "email")
        labels = {"name": _("What may we call you?"), "email": _("E-mail address")}
        widgets = {
            "name": forms.TextInput(_attrs("name")),
            "email": forms.EmailInput(_attrs("username")),
        }
        error_messages = {
            "name": {"required": _("Please tell us what to call you.")},
            "email": {
                "required": NO_EMAIL,
                "invalid": NO_EMAIL,
                "unique": _("There is an account with this address already."),
            },
        }

    def clean_email(self) -> str:
        return self.cleaned_data["email"].lower()

    def clean_password(self) -> str:
        password = self.cleaned_data["password"]
        try:
            validate_password(password)
        except ValidationError as error:
            # In the shop's words: Django's own are not there in every language.
            words = _("At least 8 characters, please, and not a password that everybody uses.")
            raise ValidationError(words) from error
        return password

    def save(self, **options: bool) -> Customer:
        self.instance.set_password(self.cleaned_data["password"])
        return super().save(**options)


class SignInForm(Plain, forms.Form):
    """Come back."""

    email = forms.CharField(label=_("E-mail address"), widget=forms.EmailInput(_attrs("username")))
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(_attrs("current-password")),
    )

    def clean(self) -> None:
        email, password = (self.cleaned_data.get(name, "") for name in ("email", "password"))
        self.customer = authenticate(username=email, password=password)
        if self.customer is None:
            raise ValidationError(
                _("Address and password don't belong together. Please try again.")
            )


class ReviewForm(Plain, forms.ModelForm):
    """Say how it is."""

    stars = forms.TypedChoiceField(
        label=_("Stars"),
        coerce=int,
        choices=[
            (1, _("Left on a bench")),
            (2, _("Not for me")),
            (3, _("It walks")),
            (4, _("Glad to have it")),
            (5, _("Never without")),
        ],
        widget=forms.RadioSelect,
        error_messages={
            name: _("Please pick between one and five stars.")
            for name in ("required", "invalid_choice")
        },
    )

    class Meta:
        model = Review
        fields = ("stars", "body", "author")
        labels = {
            "body": _("In your words (if you like)"),
            "author": _("Name to print with it"),
        }
        widgets = {
            "body": forms.Textarea({"rows": 5}),
            "author": forms.TextInput(_attrs("nickname")),
        }
        error_messages = {"author": {"required": _("Please give a name to print with it.")}}
