"""Texts in several languages: which one a reader gets, and in which direction it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

#: The text for readers of every language, where only one was written.
ANY: Final = ""

_FORM: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")

#: Languages that are written from right to left, unless the tag names another script.
_RIGHT_TO_LEFT: Final = frozenset(
    {"ar", "arc", "ckb", "dv", "fa", "ha-arab", "he", "iw", "ks", "ku-arab", "nqo", "pa-arab"}
    | {"ps", "sd", "syr", "ug", "ur", "yi"}
)
_SCRIPTS_RIGHT_TO_LEFT: Final = frozenset({"adlm", "arab", "hebr", "nkoo", "rohg", "syrc", "thaa"})
_SCRIPT: Final = re.compile(r"[a-z]{4}")


def normal(language: str) -> str:
    """Return a language's tag as texts are found by it: `de_AT` is `de-at`."""
    return language.strip().lower().replace("_", "-")


def is_language(value: object) -> bool:
    """Return whether *value* has the form of a language's tag, such as `de` or `pt-BR`."""
    return isinstance(value, str) and _FORM.fullmatch(normal(value)) is not None


def direction(language: str) -> str:
    """Return `"rtl"` for a language that is written from right to left, else `"ltr"`."""
    base, *rest = normal(language).split("-")
    script = next((part for part in rest if _SCRIPT.fullmatch(part)), None)
    if script is not None:
        return "rtl" if script in _SCRIPTS_RIGHT_TO_LEFT else "ltr"
    return "rtl" if base in _RIGHT_TO_LEFT else "ltr"


def fallbacks(language: str) -> Iterator[str]:
    """Yield the tags to look for, the exact one first: `zh-hant-tw`, `zh-hant`, `zh`."""
    parts = normal(language).split("-")
    for length in range(len(parts), 0, -1):
        yield "-".join(parts[:length])


def _by_language(value: Mapping[str, str] | str) -> Mapping[str, str]:
    if isinstance(value, str):
        return {ANY: value}
    if not isinstance(value, Mapping):
        msg = f"expected a text, or a table with a text for each language, got {value!r}"
        raise TypeError(msg)
    return {normal(language): text for language, text in value.items()}


@attrs.frozen
class Texts:
    """
    One text in the languages that it was written in.

    Args:
        by_language: A language's tag → the text; a plain text is for every language.

    Raises:
        ValueError: There is no text, one is empty, or a key is no language.
    """

    by_language: Mapping[str, str] = attrs.field(converter=_by_language)

    def __attrs_post_init__(self) -> None:
        problems = [] if self.by_language else ['has no text; write { en = "…" }']
        for language, text in self.by_language.items():
            if language != ANY and not is_language(language):
                problems.append(f"{language!r} is no language; write a tag such as en or pt-BR")
            if not isinstance(text, str) or not text.strip():
                problems.append(f"the text for {language or 'every language'} is empty or no text")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that there is a text of; empty where one text is for all."""
        return tuple(language for language in self.by_language if language != ANY)

    def find(self, wanted: Iterable[str]) -> str | None:
        """
        Return the language of a text for readers who want one of *wanted*, the best first.

        Each is looked for exactly, then without its region; `ANY` where one text is for all, None
        where there is no text in any of them.
        """
        for language in wanted:
            for tag in fallbacks(language):
                if tag in self.by_language:
                    return tag
        return ANY if ANY in self.by_language else None

    def __call__(self, language: str) -> str:
        """Return the text in *language*; the first that was written, where there is none."""
        found = self.find([language])
        return next(iter(self.by_language.values())) if found is None else self.by_language[found]


def to_texts(value: Texts | Mapping[str, str] | str) -> Texts:
    """Return *value* if it is texts already, else the texts that it holds."""
    return value if isinstance(value, Texts) else Texts(value)
