"""
Everything that a browser may ask journeykit, whatever framework the shop uses.

An adapter binds the visitor of a request, reads a body of at most `most_bytes()`, and calls
`handle()`; it has no rules of its own.
Nothing here is the shop's problem: what goes wrong is a status for the page, a count in
`kit.requests`, and never a 500.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import attrs

from journeykit.capture.context import current_customer
from journeykit.model.impression import ImpressionStep, Outcome, OutcomeStatus, Page
from journeykit.model.language import direction
from journeykit.web import browser_events, form, labels, wire
from journeykit.web.guard import (
    Rate,
    device_of,
    is_bot,
    is_prefetch,
    is_same_origin,
    referrer_of,
)
from journeykit.web.http import Request, Response
from journeykit.web.static_files import answer, static_file
from journeykit.web.tokens import Problem, Tokens, kept_key, key_of

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit
    from journeykit.model.customer import Customer
    from journeykit.model.extension import Endpoint
    from journeykit.model.impression import Offer
    from journeykit.model.prompt import Prompt

_log = logging.getLogger("journeykit")

#: The most that a page of ours sends, and what beacons may hold.
MOST_BYTES: Final = 65_536

#: How long an answer is taken: as long as an impression stays open.
_TOKEN_SECONDS: Final = 86_400

#: One visitor's requests: as many at once as several tabs need, and a second each for long.
_VISITOR_BURST, _VISITOR_PER_SECOND = 60, 1.0

#: What browsers may add to the Log in each process, all visitors together.
_ALL_BURST, _ALL_PER_SECOND = 2_000, 500.0

_IMPRESSION: Final = re.compile(r"v1/impressions/([A-Za-z0-9_-]{1,64})")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}")
_NO_STORE: Final = {"cache-control": "no-store"}

_STATUS: Final[Mapping[OutcomeStatus, int]] = {
    OutcomeStatus.OK: 204,
    OutcomeStatus.CLOSED: 409,
    OutcomeStatus.EXPIRED: 410,
    OutcomeStatus.INVALID: 422,
    OutcomeStatus.UNKNOWN: 404,
    OutcomeStatus.NOT_YOURS: 403,
}


#: Why nothing could be recorded just now, though it can be later.
_FOR_NOW: Final = frozenset({"store", "full", "disk_full", "failed"})


class Refused(Exception):
    """A request that is not answered; `status` and `code` say why."""

    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = headers or {}


def _ask_plugin(endpoint: Endpoint, request: Request) -> Response:
    if request.method not in endpoint.methods:
        return Response(status=405, headers={"allow": ", ".join(endpoint.methods)})
    response: Response = endpoint.handle(request)
    return response


class Endpoints:
    """
    What is served under the mount point.

    Args:
        kit: The kit of the shop.

        mount: Where; what the configuration says if not given.

        seconds: A clock that only goes forward, for limits; for tests.
    """

    def __init__(
        self,
        kit: JourneyKit,
        *,
        mount: str | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = kit.settings.web
        self.mount = (settings.mount if mount is None else mount).rstrip("/")
        self._kit = kit
        self._settings = settings
        self._plugins = {endpoint.path: endpoint for endpoint in kit.endpoints}
        friction = browser_events.FRICTION if settings.friction else {}
        self._allowed: browser_events.Allowed = {
            **{name: {} for name in settings.events},
            **friction,
        }
        self._visitors = Rate(_VISITOR_BURST, _VISITOR_PER_SECOND, clock=seconds)
        self._everybody = Rate(_ALL_BURST, _ALL_PER_SECOND, clock=seconds)
        self._tokens_made: Tokens | None = None

    def __bool__(self) -> bool:
        return bool(self._plugins or self._asks or self._allowed)

    @property
    def _asks(self) -> bool:
        """Whether there is anything to ask: without prompts their routes do not exist."""
        return bool(self._kit.settings.prompts)

    def most_bytes(self, path: str) -> int | None:
        """Return how much of a body to read at most; None where that is a plugin's to say."""
        return None if path in self._plugins else MOST_BYTES

    def handle(self, request: Request) -> Response:
        """Answer *request*, whose visitor is bound."""
        plugin = self._plugins.get(request.path)
        try:
            return self._answer(request) if plugin is None else _ask_plugin(plugin, request)
        except Refused as refused:
            self._count(refused.code)
            return _said(refused.status, refused.code, refused.headers)
        except wire.BadBody as bad:
            self._count(bad.code)
            return _said(bad.status, bad.code)
        except Exception as error:
            if self._kit.settings.core.strict:
                raise
            self._count("failed" if plugin is None else "plugin_failed")
            known = {"endpoint": None if plugin is None else plugin.path}
            extra = {"error": type(error).__name__, **known}
            _log.warning("journeykit.request_failed", extra=extra)
            return _said(503, "failed")

    # What there is

    def _answer(self, request: Request) -> Response:
        path = request.path
        if path.startswith("static/"):
            return self._file(request)
        impression = _IMPRESSION.fullmatch(path)
        routes: dict[str, Callable[[Request], Response]] = {}
        if path == "v1/events" and self._allowed:
            routes = {"POST": self._events}
        elif not self._asks:
            raise Refused(404, "not_found")
        elif path == "v1/prompt":
            routes = {"GET": self._prompt}
        elif path == "v1/prompts":
            routes = {"DELETE": self._opt_out, "POST": self._opt_out}
        elif path == "v1/thanks":
            routes = {"GET": self._thanks}
        elif impression is not None:
            routes = {"POST": lambda request: self._report(request, impression[1])}
        else:
            raise Refused(404, "not_found")
        if request.method not in routes:
            raise Refused(405, "bad_method", {"allow": ", ".join(routes)})
        return routes[request.method](request)

    def _file(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "bad_method", {"allow": "GET, HEAD"})
        name = request.path.removeprefix("static/")
        found = answer(name, request.headers.get("accept-encoding", ""))
        if found is None:
            raise Refused(404, "not_found")
        return found

    def _prompt(self, request: Request) -> Response:
        """Say what to ask on a page; nothing where nothing is to be asked."""
        self._let_in(request, reading=True)
        customer = current_customer()
        self._limit(customer)
        offer = self._kit.feedback.ask(customer, self.page_of(request)) if customer else None
        if offer is None:
            self._count("nothing_to_ask")
            return Response(status=204, headers=_NO_STORE)
        self._count("offered")
        response = Response.of_json(self.offered(offer, customer))
        return Response(body=response.body, headers={**response.headers, **_NO_STORE})

    def _report(self, request: Request, impression: str) -> Response:
        self._let_in(request)
        customer = current_customer()
        self._limit(customer)
        read = wire.report(request.body, request.headers.get("content-type", ""))
        said = attrs.evolve(read, mount=request.root + self.mount)
        problem = self._tokens.check(said.token, impression, customer, int(time.time()))
        if problem is Problem.EXPIRED:
            return self._told(said, Outcome(OutcomeStatus.EXPIRED))
        if problem is not None:
            self._count("foreign_token")
            return self._told_as(said, 403, "foreign_token")
        if said.is_form:
            return self._next_page(said, impression, customer)
        outcome = self._heard(said.step, said, impression, customer, said.answers)
        return self._told(said, outcome)

    def _heard(
        self,
        step: ImpressionStep,
        said: wire.Report,
        impression: str,
        customer: Customer,
        answers: Mapping[str, Any],
    ) -> Outcome:
        last = said.is_form and step is ImpressionStep.COMPLETED
        return self._kit.feedback.report(
            impression,
            step.value,
            customer=customer,
            seq=said.seq + 1 if last else said.seq,
            answers=answers,
            elapsed=said.elapsed,
        )

    def _told(self, said: wire.Report, outcome: Outcome) -> Response:
        status = outcome.status
        self._count(f"{said.step.value}_{status.value}")
        if status is OutcomeStatus.OK:
            return Response(status=204, headers=_NO_STORE)
        if status is OutcomeStatus.CLOSED and outcome.errors.get("") in _FOR_NOW:
            # It may still be told: the page tries again when the visitor does.
            return self._told_as(said, 503, "unavailable")
        if status is OutcomeStatus.INVALID and not said.is_form:
            told = {"code": status.value, "errors": dict(outcome.errors)}
            return Response.of_json(told, _STATUS[status])
        return self._told_as(said, _STATUS[status], status.value)

    def _told_as(self, said: wire.Report, status: int, code: str) -> Response:
        if not said.is_form:
            return _said(status, code)
        language = _language(said.fields.get("lang")) or self._default
        words = labels.words(language)
        reasons = {_STATUS[OutcomeStatus.INVALID]: "invalid", 503: "failed"}
        text = words[reasons.get(status, "ended")]
        back = form.local_path(said.fields.get("return"))
        return form.message(said.mount, language, text, back, status)

    def _opt_out(self, request: Request) -> Response:
        self._let_in(request)
        customer = current_customer()
        self._limit(customer)
        if customer:
            self._kit.feedback.opt_out(customer)
        self._count("opted_out")
        if request.method == "DELETE":
            return Response(status=204, headers=_NO_STORE)
        language = self._spoken(request)
        mount, text = request.root + self.mount, labels.words(language)["opted_out"]
        return form.message(mount, language, text, f"{request.root}/")

    def _events(self, request: Request) -> Response:
        self._let_in(request)
        if is_bot(request.headers):
            raise Refused(403, "bot")
        customer = current_customer()
        self._limit(customer)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = wire.json_object(request.body, kind)
        found, refused = browser_events.read(body, self._allowed)
        now = self._now()
        for event in found:
            if not self._everybody.allows(""):
                raise Refused(429, "too_many", {"retry-after": str(self._everybody.wait)})
            place = {} if event.page is None else {"page": event.page}
            at = now - timedelta(milliseconds=event.ago)
            self._kit.track(event.name, {**event.properties, **place}, at=at)
        self._count("events", len(found))
        self._count("events_not_allowed", refused)
        return Response(status=204, headers=_NO_STORE)

    # The form that works without the script

    def _next_page(self, said: wire.Report, impression: str, customer: Customer) -> Response:
        """Take one step of a plain form, and show the next."""
        prompt = self._find(said.fields.get("prompt"))
        if prompt is None or said.step is not ImpressionStep.ANSWER:
            return self._told_as(said, 410, "expired")
        language = _language(said.fields.get("lang")) or self._default
        answers = wire.typed(said.answers, prompt)
        steps = wire.steps(prompt, language, self._default)
        step = form.following(steps, said.fields.get("step", ""), answers)
        outcome = self._heard(said.step, said, impression, customer, answers)
        if outcome and step is None:
            outcome = self._heard(ImpressionStep.COMPLETED, said, impression, customer, answers)
        if not outcome:
            return self._told(said, outcome)
        self._count(f"{said.step.value}_ok")
        back = form.local_path(said.fields.get("return"))
        if step is None:
            query = {"prompt": prompt.key, "lang": language, "return": back}
            location = f"{said.mount}/v1/thanks?{urlencode(query)}"
            return Response(status=303, headers={"location": location, **_NO_STORE})
        offer = {
            "token": said.token,
            "prompt": prompt.key,
            "lang": language,
            "dir": direction(language),
            "labels": labels.words(language),
        }
        action = f"{said.mount}/v1/impressions/{impression}"
        inner = form.form(offer, step, action, answers=said.answers, seq=said.seq, back=back)
        return form.page(said.mount, language, step["title"], inner)

    def _thanks(self, request: Request) -> Response:
        language = _language(request.query.get("lang")) or self._default
        prompt = self._find(request.query.get("prompt"))
        text = labels.words(language)["thanks"]
        if prompt is not None and prompt.thanks is not None:
            text = prompt.thanks(language)
        back = request.query.get("return") or f"{request.root}/"
        return form.message(request.root + self.mount, language, text, back)

    def _find(self, key: str | None) -> Prompt | None:
        return next((each for each in self._kit.feedback.prompts if each.key == key), None)

    # What pages of the shop hold

    def offered(self, offer: Offer, customer: Customer) -> dict[str, Any]:
        """Return *offer* as the page gets it, with a token for *customer*."""
        expires = int(time.time()) + _TOKEN_SECONDS
        token = self._tokens.make(offer.impression, customer, expires, offer.prompt.version)
        return wire.offer(offer, token, self._now(), self._default)

    def scripts(self, page: str | None, root: str = "", *, nonce: str = "") -> str:
        """
        Return the markup that lets a page ask: the element and the scripts that are on.

        Args:
            page: The page's name.

            root: The path that the app itself is mounted below.

            nonce: What the page's policy for content asks of scripts, if it asks for one.
        """
        parts = ["<journeykit-prompt></journeykit-prompt>"] if self._asks else []
        names = ["prompt.js"] * self._asks + ["friction.js"] * self._settings.friction
        mount = root + self.mount
        wait = round(self._settings.ask_after.total_seconds() * 1000)
        shown = f' nonce="{escape(nonce)}"' if nonce else ""
        for name in names:
            source = escape(f"{mount}/static/{static_file(name).name}")
            parts.append(
                f'<script src="{source}" defer data-endpoint="{escape(mount)}/v1"'
                f' data-page="{escape(page or "")}" data-wait="{wait}"{shown}></script>'
            )
        return "".join(parts)

    def form(self, request: Request, here: str) -> str:
        """
        Return the prompt that may be shown now as a form in the page, which works without a script.

        Where it has to wait still, the script does that; where there is none, nothing is returned.

        Args:
            request: The request of the page itself.

            here: The page's address below where the app is mounted, to come back to.
        """
        customer = current_customer()
        if not self._asks or not customer:
            return ""
        try:
            offer = self._kit.feedback.ask(customer, self.page_of(request, path=here))
            if offer is None:
                return ""
            given = self.offered(offer, customer)
            if given["delay_ms"]:
                return form.element(given, "")
            shown = self._kit.feedback.report(offer.impression, "shown", customer=customer)
        except Exception as error:
            if self._kit.settings.core.strict:
                raise
            _log.warning("journeykit.request_failed", extra={"error": type(error).__name__})
            return ""
        self._count(f"shown_{shown.status.value}")
        if not shown:
            return ""
        action = f"{request.root}{self.mount}/v1/impressions/{offer.impression}"
        back = form.local_path(request.root + here)
        return form.element(given, form.form(given, given["steps"][0], action, back=back))

    def page_of(self, request: Request, path: str | None = None) -> Page:
        """Return what is known of the page that asks."""
        query, headers = request.query, request.headers
        named = _language(query.get("lang"))
        accepted = [
            part.partition(";")[0].strip()
            for part in headers.get("accept-language", "")[:200].split(",")
        ]
        languages = [each for each in (named, *accepted) if each and _LANGUAGE.fullmatch(each)]
        asked = query.get("path", "/").removeprefix(request.root) if path is None else path
        return Page(
            path=asked.partition("?")[0].partition("#")[0][:2000],
            languages=languages,
            device=device_of(headers),
            referrer=referrer_of(query.get("from", ""), headers.get("host", "")),
            session_id=current_customer().session_id,
            bot=is_bot(headers),
            prefetch=is_prefetch(headers),
        )

    # Who is let in

    def _let_in(self, request: Request, *, reading: bool = False) -> None:
        if not is_same_origin(request.headers, reading=reading):
            raise Refused(403, "cross_site")
        if len(request.body) > MOST_BYTES:
            raise Refused(413, "too_large")

    def _limit(self, customer: Customer) -> None:
        """Let nobody ask without end; who is nobody costs nothing, and is let through."""
        if customer and not self._visitors.allows(customer.key):
            raise Refused(429, "too_many", {"retry-after": str(self._visitors.wait)})

    @property
    def _tokens(self) -> Tokens:
        if self._tokens_made is None:
            secret = self._settings.secret
            spool = self._kit.store.spool
            kept = None if spool is None else spool.with_name(f"{spool.name}-web-key")
            key = kept_key(kept) if secret is None else key_of(secret.reveal())
            self._tokens_made = Tokens(key)
        return self._tokens_made

    @property
    def _default(self) -> str:
        return self._kit.settings.feedback.language

    def _spoken(self, request: Request) -> str:
        return next(iter(self.page_of(request).languages), self._default)

    def _now(self) -> datetime:
        return datetime.now(UTC)

    def _count(self, code: str, many: int = 1) -> None:
        if many:
            self._kit.requests[code] = self._kit.requests.get(code, 0) + many


def _language(value: str | None) -> str | None:
    return value if value is not None and _LANGUAGE.fullmatch(value) else None


def _said(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    response = Response.of_json({"code": code}, status)
    given = {**response.headers, **_NO_STORE, **(headers or {})}
    return Response(status=status, body=response.body, headers=given)
