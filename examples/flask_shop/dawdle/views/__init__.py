"""The pages, one module for each corner of the shop."""

from flask import Flask, render_template
from werkzeug.exceptions import HTTPException

from dawdle.carts import cart_count
from dawdle.customers import current_customer
from dawdle.products import categories

from . import account, cart, catalogue, checkout, counter, reviews

_WORDS = {
    404: ("This path ends here", "There is no such page. It may have been a nice one."),
    413: ("That was too much", "Please send a little less at once."),
    500: ("We tripped", "Something went wrong on our side. Please try again in a moment."),
}


def _error(error: HTTPException) -> tuple[str, int]:
    code = error.code or 500
    title, text = _WORDS.get(code, (error.name, error.description or ""))
    return render_template("error.html", title=title, text=text), code


def init_app(app: Flask) -> None:
    """Put every page in its place."""
    for module in (catalogue, cart, checkout, account, reviews, counter):
        app.register_blueprint(module.pages)
    app.register_error_handler(HTTPException, _error)
    for shared in (cart_count, categories, current_customer):
        app.add_template_global(shared)
