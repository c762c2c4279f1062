"""The two shops are one: what they share is kept twice, so that each can be taken away whole."""

import tomllib
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent
FLASK, DJANGO = EXAMPLES / "flask_shop", EXAMPLES / "django_shop"


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_pictures_and_the_style_are_the_same():
    """What a page looks like is the same in both shops, to the byte."""
    assert files(FLASK / "dawdle" / "static") == files(DJANGO / "shop" / "static")


def test_the_goods_are_the_same():
    """The same things stand on the same shelves, for the same prices."""
    goods = (FLASK / "dawdle", DJANGO / "shop" / "goods")
    flask, django = ((folder / "products.toml").read_text("utf-8") for folder in goods)
    assert flask == django


def test_the_declarations_are_the_same():
    """Journeys, prompts, cases and all else agree, but for what is asked in Arabic, too."""
    flask, django = (
        tomllib.loads((shop / "journeykit.toml").read_text("utf-8")) for shop in (FLASK, DJANGO)
    )
    assert in_english(django) == flask
    assert django != flask


def in_english(value: Any) -> Any:
    if isinstance(value, list):
        return [in_english(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"en", "ar"}:
        return value["en"]
    return {key: in_english(each) for key, each in value.items()}
