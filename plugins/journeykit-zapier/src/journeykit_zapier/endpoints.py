"""What Zapier calls: the test of the key, subscriptions, samples, and the action."""

from __future__ import annotations

import hmac
import itertools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from journeykit import Customer, Endpoint, EventRejected, StoreError, bind_customer
from journeykit.model import jsonbytes
from journeykit.model.times import to_rfc3339
from journeykit.store.kept import Kept
from journeykit.web import Request, Response
from journeykit.web.guard import Rate
from journeykit_zapier.settings import ZapierSettings, matcher
from journeykit_zapier.subscriptions import Subscription, Subscriptions, problem

if TYPE_CHECKING:
    from journeykit import JourneyKit, Receipt

#: What a request may hold: an event may have 32 KB.
_MOST_BYTES: Final = 65_536

#: Requests at once, and a second for long; and those with a wrong key, all callers together.
_BURST, _PER_SECOND = 100, 20.0
_WRONG_BURST, _WRONG_PER_SECOND = 20, 0.2

#: How many samples there are, and how far into the Log they are looked for.
_SAMPLES: Final = 3
_LOOKED_AT: Final = 5_000

#: How the address is called in what others send.
_URLS: Final = ("hookUrl", "targetUrl", "target_url", "hook_url", "url")

#: Why nothing could be recorded just now, though it can be later.
_FOR_NOW: Final = frozenset({"full", "disk_full", "closed", "failed"})


class _Refused(Exception):
    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.message, self.headers = status, message, headers or {}
        super().__init__(message)


class ZapierEndpoints:
    """
    The endpoints of the sink *name*.

    Args:
        now: The clock, in microseconds.

        seconds: A clock that only goes forward, for limits.
    """

    def __init__(
        self,
        name: str,
        settings: ZapierSettings,
        kit: JourneyKit,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._settings = settings
        self._kit = kit
        self._now = now
        self._rate = Rate(_BURST, _PER_SECOND, clock=seconds)
        self._wrong = Rate(_WRONG_BURST, _WRONG_PER_SECOND, clock=seconds)

    def all(self) -> list[Endpoint]:
        """Return them."""
        routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "me": {"GET": self._me},
            "hooks": {"POST": self._subscribe, "DELETE": self._unsubscribe},
            "samples": {"GET": self._samples},
            "events": {"POST": self._record},
        }
        return [
            Endpoint(f"{self._name}/{path}", tuple(methods), self._guarded(methods))
            for path, methods in routes.items()
        ]

    def _guarded(
        self, methods: Mapping[str, Callable[[Request], Response]]
    ) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            try:
                self._let_in(request)
                return methods[request.method](request)
            except _Refused as refused:
                return _told(refused.status, refused.message, refused.headers)
            except StoreError:
                return _told(
                    503, "the shop's store is away; try again later", {"retry-after": "30"}
                )

        return handle

    # Who is let in

    def _let_in(self, request: Request) -> None:
        given = request.headers.get("x-api-key", "")
        if not given:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            given = token.strip() if scheme.lower() == "bearer" else ""
        if not hmac.compare_digest(given.encode(), self._key()):
            if not self._wrong.allows(""):
                raise _Refused(429, "too many requests with a wrong key", _wait(self._wrong))
            raise _Refused(401, "the API key is wrong", {"www-authenticate": "Bearer"})
        if not self._rate.allows(""):
            raise _Refused(429, "too many requests", _wait(self._rate))
        if len(request.body) > _MOST_BYTES:
            raise _Refused(413, f"a request may have {_MOST_BYTES:,} bytes")

    def _key(self) -> bytes:
        try:
            key = self._settings.key.reveal() if self._settings.key is not None else ""
        except LookupError:
            key = ""
        if not key:
            raise _Refused(503, "the shop has no key at present")
        return key.encode()

    # What is served

    def _me(self, _: Request) -> Response:
        """Tell that the key is right, and whose it is."""
        settings = self._kit.settings
        return _json({"name": settings.core.app or settings.base.name, "sink": self._name})

    def _subscribe(self, request: Request) -> Response:
        body = _object(request.body)
        url = next((body[name] for name in _URLS if name in body), None)
        event = body.get("event")
        settings = self._settings
        if wrong := problem(url, settings.hosts, plain=bool(settings.allow)):
            raise _Refused(422, f"hookUrl: {wrong}")
        if not isinstance(event, str) or not 0 < len(event) <= 200:
            raise _Refused(422, "event: expected the name of an event")
        if matcher(settings.events).fullmatch(event) is None:
            raise _Refused(422, "event: Zaps may not subscribe to this one")
        made = Subscription.of(str(url), event, to_rfc3339(self._now()))
        known = {each.id: each for each in self._subscriptions.all()}
        if made.id not in known:
            if len(known) >= settings.most:
                raise _Refused(409, f"there are {settings.most} subscriptions already")
            self._subscriptions.add(made)
        return _json({"id": made.id, "event": event}, 201)

    def _unsubscribe(self, request: Request) -> Response:
        found = request.query.get("id") or (_object(request.body) if request.body else {}).get("id")
        if not isinstance(found, str) or not found:
            raise _Refused(422, "id: expected what subscribing has answered")
        self._subscriptions.remove(found)
        return Response(status=204)

    def _samples(self, request: Request) -> Response:
        """Return the first events of a name that the Log has, or one that is made up."""
        event = request.query.get("event", "")
        if not 0 < len(event) <= 200 or not matcher(self._settings.events).fullmatch(event):
            raise _Refused(422, "event: Zaps may not subscribe to this one")
        return _json(self._found(event) or [self._made_up(event)])

    def _found(self, event: str) -> list[Any]:
        found: list[Any] = []
        position, looked = None, 0
        while looked < _LOOKED_AT and len(found) < _SAMPLES:
            page = self._kit.store.read(position, 1_000)
            found += [stored.wire() for stored in page if stored.entry.name == event]
            if not page:
                break
            position, looked = page[-1].position, looked + len(page)
        return [jsonbytes.loads(wire) for wire in itertools.islice(found, _SAMPLES)]

    def _made_up(self, event: str) -> dict[str, Any]:
        now = to_rfc3339(self._now())
        return {
            "id": "00000000-0000-7000-8000-000000000000",
            "kind": "touchpoint",
            "name": event,
            "customer": {"user_id": "customer-1", "anonymous_id": None, "session_id": None},
            "context": {},
            "occurred_at": now,
            "channel": "web",
            "properties": {},
            "source": {"app": "sample"},
            "v": 1,
            "recorded_at": now,
            "historical": False,
        }

    def _record(self, request: Request) -> Response:
        body = _object(request.body)
        event = body.get("event")
        if not isinstance(event, str) or event not in self._settings.record:
            raise _Refused(
                422, "event: Zaps may not record this one; see record in journeykit.toml"
            )
        properties, event_id = body.get("properties") or {}, body.get("id")
        if not isinstance(properties, dict):
            raise _Refused(422, "properties: expected an object")
        if event_id is not None and not isinstance(event_id, str):
            raise _Refused(422, "id: expected a text")
        receipt = self._track(event, properties, _customer(body), event_id)
        if receipt:
            return _json({"id": receipt.id, "event": event}, 201)
        reason = receipt.reason or "failed"
        if reason in _FOR_NOW:
            raise _Refused(503, f"not recorded: {reason}; try again later", {"retry-after": "30"})
        raise _Refused(422, f"not recorded: {reason}")

    def _track(
        self, event: str, properties: dict[str, Any], customer: Customer, id: str | None
    ) -> Receipt:
        # Of the request that brings it nothing is known about the customer.
        purposes = self._settings.purposes or None
        try:
            with bind_customer(customer, purposes=purposes):
                return self._kit.track(event, properties, customer=customer, id=id)
        except EventRejected as rejected:
            raise _Refused(422, f"not recorded: {rejected.reason}") from None

    @property
    def _subscriptions(self) -> Subscriptions:
        return Subscriptions(Kept(self._kit.store, f"sink:{self._name}"))


def _customer(body: Mapping[str, Any]) -> Customer:
    user, visitor = body.get("user_id"), body.get("anonymous_id")
    for value in (user, visitor):
        if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 255):
            raise _Refused(422, "user_id, anonymous_id: expected a text")
    if not user and not visitor:
        raise _Refused(422, "user_id: say whom it happened to")
    return Customer(user, visitor)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = jsonbytes.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(400, "the request is no JSON") from None
    if not isinstance(found, dict):
        raise _Refused(400, "the request is no JSON object")
    return found


def _wait(rate: Rate) -> dict[str, str]:
    return {"retry-after": str(rate.wait)}


def _json(value: object, status: int = 200) -> Response:
    return _uncached(Response.of_json(value, status))


def _told(status: int, message: str, headers: Mapping[str, str]) -> Response:
    return _uncached(Response.of_json({"message": message}, status), headers)


def _uncached(response: Response, headers: Mapping[str, str] | None = None) -> Response:
    given = {**response.headers, "cache-control": "no-store", **(headers or {})}
    return Response(status=response.status, body=response.body, headers=given)
