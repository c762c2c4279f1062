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
        elif tag == "input" and found.get("type") not in {"radio", "checkbox"} and self.forms:
            self.forms[-1].fields[found.get("name", "")] = found.get("value", "")


class Visitor:
    """One person at one browser."""

    def __init__(self, shop: str, rng: random.Random) -> None:
        self.rng = rng
        self._client = httpx.Client(base_url=shop, timeout=20, follow_redirects=True)
        self.path = "/"
        self.status = 0
        self._page = _Page("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

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
            self._arrive(self._client.post(action, data=fields))
        else:
            self.open(action, **fields)

    def _arrive(self, response: httpx.Response) -> None:
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            response.raise_for_status()
        self.path, self.status = urlsplit(str(response.url)).path, response.status_code
        self._page = _Page(self.path)
        self._page.feed(response.text)
