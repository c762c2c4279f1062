"""A browser with little in it: cookies, links and forms."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urlsplit

import httpx


class NotOnThePage(Exception):
    """The page has no such link or form, so a person could not use it either."""


@dataclass
class Form:
    """A form and the fields that it comes with."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    #: What can be ticked, by name, and the names of what can be written.
    choices: dict[str, list[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)


class _Page(HTMLParser):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.forms: list[Form] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(found.get("href", ""))
        elif tag == "form":
            action = found.get("action", self._path)
            self.forms.append(Form(action, found.get("method", "get").lower()))
        elif self.forms:
            self._note_control(self.forms[-1], tag, found)

    @staticmethod
    def _note_control(form: Form, tag: str, found: dict[str, str]) -> None:
        name, value = found.get("name", ""), found.get("value", "")
        if tag == "textarea":
            form.texts.append(name)
        elif tag == "input" and found.get("type") in {"radio", "checkbox"}:
            form.choices.setdefault(name, []).append(value)
        elif tag == "input":
            form.fields[name] = value


class Visitor:
    """One person at one browser."""

    def __init__(self, shop: str, rng: random.Random) -> None:
        self.rng = rng
        self._client = httpx.Client(
            base_url=shop,
            timeout=20,
            follow_redirects=True,
            # Programs are asked nothing; this one means to be taken for a person.
            headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Stroller/1.0"},
        )
        self.path = "/"
        self.status = 0
        self.text = ""
        self._page = _Page("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def cookie(self, name: str) -> str:
        """What the browser has under that name; empty where it has nothing."""
        return self._client.cookies.get(name) or ""

    def open(self, path: str, **query: str) -> None:
        """Type an address."""
        self._arrive(self._client.get(path, params=query or None))

    def click(self, link: str) -> None:
        """Follow a link of this page."""
        if link not in self._page.links:
            raise NotOnThePage(f"{self.path} has no link {link}")
        self.open(link)

    def search(self, words: str) -> None:
        """Use the search box."""
        self.submit("/products", q=words)

    def submit(self, action: str, **answers: str) -> None:
        """Fill in and send a form of this page."""
        form = next((form for form in self._page.forms if form.action == action), None)
        if form is None:
            raise NotOnThePage(f"{self.path} has no form {action}")
        fields = {**form.fields, **answers}
        if form.method == "post":
            origin = {"Origin": str(self._client.base_url).rstrip("/")}
            self._arrive(self._client.post(action, data=fields, headers=origin))
        else:
            self.open(action, **fields)

    def answer(self, gladness: float, words: str = "") -> None:
        """Answer what the shop asks on this page, and on those behind it: 1 is as glad as can be.

        Does nothing where nothing is asked.
        """
        while form := next((f for f in self._page.forms if "/impressions/" in f.action), None):
            answers = dict.fromkeys(form.texts, words)
            for name, choices in form.choices.items():
                answers[name] = choices[round(gladness * (len(choices) - 1))]
            self.submit(form.action, **answers)

    def _arrive(self, response: httpx.Response) -> None:
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            response.raise_for_status()
        self.path, self.status = urlsplit(str(response.url)).path, response.status_code
        self.text = response.text
        self._page = _Page(self.path)
        self._page.feed(self.text)
