"""
A prompt as visitors would see it, on a page of this machine: `journeykit prompts preview`.

The script, the form and the endpoints are the real ones.
Behind them is no kit: what is answered is checked as ever, and then forgotten.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

import attrs

from journeykit.capture.context import bind_customer
from journeykit.config.settings import Settings, Web
from journeykit.feedback.answers import read_answers
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer
from journeykit.model.impression import ImpressionStep, Offer, Outcome, OutcomeStatus, Page
from journeykit.model.language import direction
from journeykit.model.receipt import Receipt
from journeykit.store.memory import MemoryStore
from journeykit.web import form
from journeykit.web.endpoints import Endpoints
from journeykit.web.http import Request, Response
from journeykit.web.static_files import static_file

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit
    from journeykit.model.prompt import Prompt

#: Whoever looks at the preview.
_LOOKER: Final = Customer(None, "preview", "preview")

#: A language that runs from right to left, for prompts that have no text in one.
_MIRRORED: Final = "ar"

#: The most of a body that is read.
_READ_BYTES: Final = 2**20

#: What pages of the preview may load.
_POLICY: Final = "default-src 'self'; base-uri 'none'; object-src 'none'"

_CSS: Final = """
:root { color-scheme: light dark; --line: light-dark(#d5dbd8, #36403d); }
:root.light { color-scheme: light; }
:root.dark { color-scheme: dark; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif;
  background: light-dark(#f4f6f5, #121716); color: light-dark(#16211e, #eef4f1); }
header, main { padding: 1rem 1.5rem; }
header { border-block-end: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.25rem; }
h2 { margin: 0 0 .5rem; font-size: 1rem; font-weight: 600; }
p { margin: .25rem 0; max-inline-size: 70ch; }
a { color: light-dark(#0b6357, #6fd8c3); }
nav a { margin-inline-end: .75rem; }
nav a[aria-current] { font-weight: 600; color: inherit; text-decoration: none; }
main { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
section { max-inline-size: 100%; }
iframe { display: block; inline-size: 32rem; block-size: 30rem; max-inline-size: 100%;
  border: 1px solid var(--line); border-radius: .5rem; background: light-dark(#fff, #1b2221); }
iframe.phone { inline-size: 20rem; block-size: 36rem; }
.shop { padding: 1.5rem; min-block-size: 100vh; box-sizing: border-box;
  background: light-dark(#f3f1ec, #101413); }
.shop div { margin-block-end: 1rem; block-size: 1rem; border-radius: .25rem;
  background: light-dark(#dedbd2, #252c2a); }
.shop div:first-child { block-size: 2rem; inline-size: 60%; }
.shop div:last-child { inline-size: 75%; }
"""

_FILES: Final = {
    "/preview.css": Response(
        body=_CSS.encode(), headers={"content-type": "text/css; charset=utf-8"}
    ),
    "/favicon.ico": Response(status=204),
}


@attrs.frozen
class _Look:
    """One way to look at a prompt: its title, and how the page is."""

    title: str
    theme: str = "light"
    is_mirrored: bool = False
    is_form: bool = False
    frame: str = ""


_LOOKS: Final = {
    "light": _Look("Light"),
    "dark": _Look("Dark", theme="dark"),
    "rtl": _Look("Right to left", is_mirrored=True),
    "form": _Look("Without the script", is_form=True),
    "phone": _Look("On a telephone", frame="phone"),
}


class _Nowhere:
    """Stands where `kit.feedback` is: offers the one prompt to everybody, and keeps nothing."""

    def __init__(self, prompt: Prompt, default: str) -> None:
        self.prompts = (prompt,)
        self._default = default
        self._numbers = itertools.count(1)

    def ask(self, _: Customer, page: Page) -> Offer:
        """Return the prompt in the language of *page*."""
        prompt, wanted = self.prompts[0], [*page.languages, self._default]
        found = prompt.text.find(wanted)
        return Offer(
            impression=f"preview-{next(self._numbers)}",
            prompt=prompt,
            language=next(iter(prompt.text.by_language)) if found is None else found,
            delay=0.0,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )

    def report(
        self, _: str, step: str, *, answers: Mapping[str, Any] | None = None, **__: Any
    ) -> Outcome:
        """Say what a shop would say of the answers; they go nowhere."""
        complete = step == ImpressionStep.COMPLETED
        if complete or step == ImpressionStep.ANSWER:
            read = read_answers(self.prompts[0], answers, complete=complete)
            if read.errors:
                return Outcome(OutcomeStatus.INVALID, read.errors)
        return Outcome(OutcomeStatus.OK)

    def opt_out(self, _: Customer) -> Receipt:
        """Believe it, and forget it."""
        return Receipt("preview")


@attrs.define
class _Desk:
    """What the endpoints need of a kit."""

    settings: Settings
    feedback: _Nowhere
    store: MemoryStore = attrs.field(factory=MemoryStore)
    endpoints: tuple[()] = ()
    requests: dict[str, int] = attrs.field(factory=dict)


class Preview:
    """
    The pages of a preview.

    Args:
        prompt: The prompt to show.

        settings: What the shop declares.

        language: The language to begin with; that of the shop if not given.
    """

    def __init__(self, prompt: Prompt, settings: Settings, language: str | None = None) -> None:
        web = Web(mount=settings.web.mount, ask_after=timedelta(0))
        settings = attrs.evolve(settings, prompts=(prompt,), web=web)
        default = settings.feedback.language
        self.prompt = prompt
        self.languages = list(prompt.text.languages)
        known = prompt.text.find([default])
        self._start: str = language or known or next(iter(self.languages), default)
        self._feedback = _Nowhere(prompt, default)
        desk = _Desk(settings, self._feedback)
        # A person who tries it out is faster than a visitor may be.
        self._endpoints = Endpoints(
            cast("JourneyKit", desk), seconds=lambda: time.monotonic() * 1000
        )

    def answer(self, request: Request) -> Response:
        """Answer a request of a browser."""
        with bind_customer(_LOOKER):
            return _framed(self._answer(request))

    def _answer(self, request: Request) -> Response:
        mount = f"{self._endpoints.mount}/"
        look, _, rest = request.path.removeprefix("/").partition("/")
        if look in _LOOKS and f"/{rest}".startswith(mount):
            inner = attrs.evolve(request, path=f"/{rest}".removeprefix(mount), root=f"/{look}")
            return self._inner(inner, _LOOKS[look])
        if request.method not in ("GET", "HEAD"):
            return _plain("", 405)
        language = request.query.get("lang") or self._start
        if look in _LOOKS and not rest:
            return _plain(self._page(look, _LOOKS[look], language))
        if request.path == "/":
            return _plain(self._overview(language))
        return _FILES.get(request.path) or _plain("", 404)

    def _inner(self, request: Request, look: _Look) -> Response:
        """Answer what the script or the form asks of the shop."""
        response = self._endpoints.handle(request)
        if look.is_mirrored and request.path == "v1/prompt" and response.status == 200:
            offer = {**jsonbytes.loads(response.body), "dir": "rtl"}
            return Response(body=jsonbytes.dumps(offer), headers=response.headers)
        return response

    def _overview(self, language: str) -> str:
        """Return the page with every look in a frame."""
        prompt = self.prompt
        parts = []
        for name, look in _LOOKS.items():
            source = f"/{name}?lang={escape(self._shown_in(look, language))}"
            title = escape(look.title)
            parts.append(
                f'<section><h2 id="{name}">{title}</h2>'
                f'<iframe class="{look.frame}" src="{source}" title="{title}"></iframe></section>'
            )
        links = "".join(
            f'<a href="/?lang={escape(each)}"{_current(each, language)}>{escape(each)}</a>'
            for each in self.languages
        )
        choice = f'<nav aria-label="Languages">{links}</nav>' if len(self.languages) > 1 else ""
        heading = f"{escape(prompt.key)}: {escape(prompt.kind.value)}"
        is_off = "" if prompt.on else "<p>It is switched off: nobody is asked.</p>"
        notes = (
            "<p>This is a preview. Answers go nowhere, and nothing is recorded.</p>"
            f"{is_off}{self._missing_note(language)}{self._mirrored_note()}"
            "<p>Load the page again to begin anew.</p>"
        )
        return _html(
            f"Preview of {escape(prompt.key)}",
            f"<header><h1>{heading}</h1>{notes}{choice}</header><main>{''.join(parts)}</main>",
        )

    def _missing_note(self, language: str) -> str:
        if self.prompt.text.find([language]) is not None:
            return ""
        return f"<p>It has no text for readers of {escape(language)}.</p>"

    def _mirrored_note(self) -> str:
        if any(direction(each) == "rtl" for each in self.languages):
            return ""
        return (
            "<p>It has no text in a language that runs from right to left: that look is the same "
            "text, mirrored.</p>"
        )

    def _shown_in(self, look: _Look, language: str) -> str:
        if not look.is_mirrored or direction(language) == "rtl":
            return language
        written = (each for each in self.languages if direction(each) == "rtl")
        return next(written, language)

    def _page(self, name: str, look: _Look, language: str) -> str:
        """Return a page of a shop that asks, or that has the question in it as a form."""
        shop = f'<div class="shop" aria-hidden="true">{"<div></div>" * 6}</div>'
        if look.is_form:
            inner = f'<main class="shop-form">{self._form(name, language)}</main>'
            style = escape(f"/{name}{self._endpoints.mount}/static/{static_file('page.css').name}")
            return _html(look.title, inner, language, styles=(style,))
        inner = shop + self._endpoints.scripts("preview", f"/{name}")
        spoken = _MIRRORED if look.is_mirrored and direction(language) == "ltr" else None
        return _html(look.title, inner, language, look.theme, rtl=spoken is not None)

    def _form(self, name: str, language: str) -> str:
        offer = self._feedback.ask(_LOOKER, Page(languages=(language,)))
        given = self._endpoints.offered(offer, _LOOKER)
        action = f"/{name}{self._endpoints.mount}/v1/impressions/{offer.impression}"
        back = f"/{name}?lang={language}"
        return form.form(given, given["steps"][0], action, back=back)


@contextmanager
def serving(preview: Preview) -> Iterator[str]:
    """Serve *preview* to this machine on a free port, and yield its address."""
    handler = type("Handler", (_Handler,), {"preview": preview})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="preview", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to the preview."""

    preview: Preview
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing: who looks at a prompt does not want a line for each file."""

    def _do(self) -> None:
        length = self.headers.get("content-length", "0")
        size = int(length) if length.isdigit() else 0
        # A little too much is read, so that the browser hears that it is.
        self.close_connection |= size > _READ_BYTES
        parts = urlsplit(self.path)
        response = self.preview.answer(
            Request(
                method=self.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(min(size, _READ_BYTES)),
            )
        )
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != 204:
            self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_DELETE = _do  # noqa: N815 - the names that the server looks for


def _framed(response: Response) -> Response:
    """Let pages that must stand in no frame elsewhere stand in those of the preview."""
    policy = response.headers.get("content-security-policy", "")
    allowed = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
    headers = {**response.headers, **({"content-security-policy": allowed} if policy else {})}
    return attrs.evolve(response, headers=headers)


def _plain(text: str, status: int = 200) -> Response:
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": _POLICY,
        "cache-control": "no-store",
        "referrer-policy": "same-origin",
    }
    return Response(status=status, body=text.encode("utf-8", "replace"), headers=headers)


def _html(
    title: str,
    inner: str,
    language: str = "en",
    theme: str = "",
    *,
    rtl: bool = False,
    styles: tuple[str, ...] = (),
) -> str:
    towards = "rtl" if rtl else direction(language)
    kind = f' class="{theme}"' if theme else ""
    links = "".join(
        f'<link rel="stylesheet" href="{each}">\n' for each in ("/preview.css", *styles)
    )
    return (
        f'<!doctype html>\n<html lang="{escape(language)}" dir="{towards}"{kind}>\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n{links}</head>\n<body>\n{inner}\n</body>\n</html>\n"
    )


def _current(each: str, language: str) -> str:
    return ' aria-current="page"' if each == language else ""
