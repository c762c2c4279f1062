from __future__ import annotations

import pytest

from journeykit.model.language import Texts, direction, fallbacks


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["de-AT"], "de-at"),
        (["de_AT"], "de-at"),
        (["de-CH"], "de"),
        (["fr", "en-GB"], "en"),
        (["fr"], None),
        ([], None),
    ],
)
def test_the_text_that_is_found(wanted: list[str], found: str | None) -> None:
    """A language is looked for exactly, then without its region, then the next one."""
    texts = Texts({"en": "e", "de": "d", "de-AT": "a"})
    assert texts.find(wanted) == found


def test_one_text_for_all() -> None:
    """A plain text is for every language; of several, an unknown language gets the first."""
    assert Texts("x").find(["fr"]) == ""
    assert Texts("x")("fr") == "x"
    assert Texts({"de": "d", "en": "e"})("fr") == "d"
    assert Texts("x").languages == ()


@pytest.mark.parametrize("value", [{}, {"en": " "}, {"e": "x"}, {"en": 3}, {"en us": "x"}])
def test_texts_that_are_none(value: object) -> None:
    """Empty texts and keys that are no language are refused, all at once."""
    with pytest.raises(ValueError, match=r"no text|no language|is empty"):
        Texts(value)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("ar", "rtl"),
        ("he-IL", "rtl"),
        ("fa_IR", "rtl"),
        ("ur", "rtl"),
        ("az-Arab", "rtl"),
        ("ar-Latn", "ltr"),
        ("de", "ltr"),
        ("", "ltr"),
        ("arn", "ltr"),
    ],
)
def test_direction(language: str, expected: str) -> None:
    """Languages that run from right to left are known, and scripts that say otherwise."""
    assert direction(language) == expected


def test_fallbacks() -> None:
    """Each tag is shortened part by part."""
    assert list(fallbacks("zh-Hant-TW")) == ["zh-hant-tw", "zh-hant", "zh"]
