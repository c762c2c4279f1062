"""The sink: posts each event to every hook that wants it."""

from __future__ import annotations

import functools
import ssl
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs

from journeykit import DeliveryError, Rejection
from journeykit.delivery.answers import ALL_ALIKE, NOT_NOW, retry_after, told
from journeykit.delivery.guard import Guard
from journeykit.delivery.reason import mistake
from journeykit.model import jsonbytes
from journeykit_webhook.posting import Line, Target
from journeykit_zapier.settings import matcher
from journeykit_zapier.subscriptions import Subscription, Subscriptions

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Sequence

    from journeykit import Batch
    from journeykit.store.kept import Kept
    from journeykit_webhook.posting import Answer
    from journeykit_zapier.settings import ZapierSettings

#: The Zap was switched off or deleted.
_GONE: Final = 410

#: The event is too large: no waiting makes it smaller.
_TOO_LARGE: Final = 413

#: The longest pause of a hook that fails while others work, in seconds.
_LONGEST_PAUSE: Final = 300.0

#: Of how many events it is remembered which hooks have them while another lacks them.
_MOST_REMEMBERED: Final = 10_000

#: How many hooks are posted to at a time.
_MOST_THREADS: Final = 8

_HEADERS: Final = {"user-agent": "journeykit-zapier", "content-type": "application/json"}
_BEHIND: Final = "an earlier event of this customer waits"


@attrs.frozen
class _Message:
    """An event to post."""

    id: str
    name: str
    recorded_at: str | None
    customers: frozenset[str]
    body: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class _Hook:
    """
    An address, and how it is doing.

    Args:
        id: The subscription's, or one for a catch hook.

        wanted: What matches the names of the events that it wants.

        since: It gets nothing that was recorded before.

        subscribed: Whether it goes away when Zapier says so.

        failing_since: When it began to fail; None while it works.
    """

    id: str
    target: Target
    line: Line
    wanted: re.Pattern[str]
    since: str
    subscribed: bool
    failures: int = 0
    failing_since: float | None = None
    not_before: float = 0.0
    error: str = ""

    def wants(self, message: _Message) -> bool:
        """Return whether it is to have *message*."""
        if self.wanted.fullmatch(message.name) is None:
            return False
        return message.recorded_at is None or message.recorded_at >= self.since

    def worked(self) -> None:
        """Note that it works."""
        self.failures, self.failing_since, self.not_before = 0, None, 0.0

    def failed(self, error: DeliveryError, now: float) -> None:
        """Note that it takes nothing now."""
        self.failures += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        pause = min(2.0 ** min(self.failures - 1, 10), _LONGEST_PAUSE)
        self.not_before = now + max(pause, min(error.retry_after or 0.0, 3600.0))
        self.error = str(error)


@attrs.define
class _Lane:
    """What one hook is to have, and what became of it."""

    hook: _Hook
    messages: list[_Message] = attrs.field(factory=list)
    taken: list[str] = attrs.field(factory=list)
    rejections: list[Rejection] = attrs.field(factory=list)
    failure: DeliveryError | None = None


class ZapierSink:
    """
    Posts each event to every hook that wants it: one request each.

    An event is done when all of them have it.
    A hook that fails may hold up the others for as long as `patience` says; then its events are
    parked, unless all of the others fail too: that is an outage, for which nothing is parked.

    Args:
        name: The sink's name.

        settings: What is configured.

        now: The clock, in seconds since the epoch.

        tls: The settings of TLS; those of the system if not given.
    """

    def __init__(
        self,
        name: str,
        settings: ZapierSettings,
        *,
        now: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._now = now
        self._guard = Guard(settings.allow)
        self._tls = functools.cache(lambda: tls or ssl.create_default_context())
        self._subscriptions: Subscriptions | None = None
        self._fixed = [
            self._hook(f"hooks[{index}]", hook.url.reveal(), hook.events)
            for index, hook in enumerate(settings.hooks)
        ]
        self._subscribed: dict[str, _Hook] = {}
        #: Event → the hooks that have it, while another lacks it.
        self._has: OrderedDict[str, set[str]] = OrderedDict()

    def keep_in(self, kept: Kept) -> None:
        """Take the place in the store where subscriptions are."""
        self._subscriptions = Subscriptions(kept)

    def deliver(self, batch: Batch) -> list[Rejection]:
        """
        Post the events of *batch* to the hooks that want them, those of each customer in order.

        Raises:
            DeliveryError: None of these hooks takes anything at present.
        """
        hooks = self._hooks()
        lanes = self._lanes(hooks, [_message(line) for line in batch.lines])
        # Where all fail the relay waits, and each is tried when it comes back.
        alone = all(hook.failing_since is not None for hook in hooks)
        self._post_all(lanes, alone=alone)
        rejections = self._settle(lanes, batch, hooks)
        failures = [lane.failure for lane in lanes if lane.failure is not None]
        if failures and all(hook.failing_since is not None for hook in hooks):
            lacking = {rejection.id for rejection in rejections}
            waits = [each.retry_after for each in failures if each.retry_after is not None]
            taken = [event for event in batch.ids if event not in lacking]
            wait = min(waits, default=None)
            raise DeliveryError(str(failures[0]), retry_after=wait, taken=taken)
        return rejections

    def reset_after_fork(self) -> None:
        """Close this process's copies of connections, which sends nothing to the other side."""
        self.close()

    def close(self) -> None:
        """Close the connections; the next batch opens them again."""
        for hook in (*self._fixed, *self._subscribed.values()):
            hook.line.close()

    # The hooks

    def _hooks(self) -> list[_Hook]:
        """Return the hooks that there are now; another process may have changed them."""
        current = self._subscriptions.all() if self._subscriptions is not None else []
        known, self._subscribed = self._subscribed, {}
        for each in current:
            hook = known.pop(each.id, None) or self._subscribe(each)
            if hook is not None:
                self._subscribed[each.id] = hook
        for gone in known.values():
            gone.line.close()
        return [*self._fixed, *self._subscribed.values()]

    def _subscribe(self, subscription: Subscription) -> _Hook | None:
        try:
            hook = self._hook(subscription.id, subscription.url, (subscription.event,))
        except ValueError:
            return None
        hook.since, hook.subscribed = subscription.since, True
        # A name is a name: no subscription is for a pattern.
        hook.wanted = _exactly(subscription.event)
        return hook

    def _hook(self, id: str, url: str, events: tuple[str, ...]) -> _Hook:
        target = Target.of(url, plain=bool(self._settings.allow))
        seconds = self._settings.timeout.total_seconds()
        line = Line(target, self._guard, timeout=seconds, tls=self._tls)
        return _Hook(id, target, line, matcher(events), "", subscribed=False)

    # Posting

    def _lanes(self, hooks: Iterable[_Hook], messages: Sequence[_Message]) -> list[_Lane]:
        lanes = []
        for hook in hooks:
            lane = _Lane(hook)
            lane.messages = [
                message
                for message in messages
                if hook.wants(message) and hook.id not in self._has.get(message.id, ())
            ]
            if lane.messages:
                lanes.append(lane)
        return lanes

    def _post_all(self, lanes: Sequence[_Lane], *, alone: bool) -> None:
        for start in range(0, len(lanes), _MOST_THREADS):
            chosen = lanes[start : start + _MOST_THREADS]
            threads = [
                threading.Thread(
                    target=self._post_lane,
                    args=(lane, alone),
                    name=f"journeykit-zapier-{self.name}",
                    daemon=True,
                )
                for lane in chosen[1:]
            ]
            for thread in threads:
                thread.start()
            self._post_lane(chosen[0], alone)
            for thread in threads:
                thread.join()

    def _post_lane(self, lane: _Lane, alone: bool) -> None:  # noqa: FBT001 - a thread's argument
        hook, waiting = lane.hook, set[str]()
        if not alone and hook.not_before > self._now():
            lane.failure = DeliveryError(hook.error)
            return
        for message in lane.messages:
            if not waiting.isdisjoint(message.customers):
                waiting |= message.customers
                lane.rejections.append(Rejection(message.id, _BEHIND, retryable=True))
                continue
            try:
                rejection = self._judge(hook, message, hook.line.post(message.body, _HEADERS))
            except DeliveryError as error:
                lane.failure = error
                hook.failed(error, self._now())
                return
            except _Unsubscribed:
                self._unsubscribe(lane)
                return
            except Exception as error:  # noqa: BLE001 - in a thread nobody else would hear of it
                lane.failure = DeliveryError(f"POST {hook.target}: {mistake(error)}")
                hook.failed(lane.failure, self._now())
                return
            hook.worked()
            if rejection is None:
                lane.taken.append(message.id)
            else:
                lane.rejections.append(rejection)
                waiting |= message.customers if rejection.retryable else frozenset()

    def _judge(self, hook: _Hook, message: _Message, answer: Answer) -> Rejection | None:
        status = answer.status
        if 200 <= status < 300:
            return None
        if status == _GONE and hook.subscribed:
            raise _Unsubscribed
        msg = f"POST {hook.target} ({hook.id}): {told(status)}"
        if status == _TOO_LARGE:
            return Rejection(message.id, msg)
        if status >= 500 or status < 400 or status in NOT_NOW | ALL_ALIKE:
            raise DeliveryError(msg, retry_after=retry_after(answer.retry_after, self._now()))
        return Rejection(message.id, msg, retryable=True)

    def _unsubscribe(self, lane: _Lane) -> None:
        """Forget a Zap that was switched off; nobody waits for its events any more."""
        if self._subscriptions is not None:
            self._subscriptions.remove(lane.hook.id)
        hook = self._subscribed.pop(lane.hook.id, None)
        if hook is not None:
            hook.line.close()

    # What became of it

    def _settle(
        self, lanes: Sequence[_Lane], batch: Batch, hooks: Sequence[_Hook]
    ) -> list[Rejection]:
        """Return the events that a hook lacks, and remember which others have them."""
        lacking: dict[str, Rejection] = {}
        for lane in lanes:
            for rejection in self._rejections(lane, hooks):
                known = lacking.get(rejection.id)
                if known is None or known.retryable:
                    lacking[rejection.id] = rejection
        for lane in lanes:
            for event in lane.taken:
                if event in lacking:
                    self._has.setdefault(event, set()).add(lane.hook.id)
        for event in batch.ids:
            if event not in lacking:
                self._has.pop(event, None)
        while len(self._has) > _MOST_REMEMBERED:
            self._has.popitem(last=False)
        return list(lacking.values())

    def _rejections(self, lane: _Lane, hooks: Sequence[_Hook]) -> list[Rejection]:
        if lane.failure is None:
            return lane.rejections
        hook = lane.hook
        settled = {*lane.taken, *(rejection.id for rejection in lane.rejections)}
        left = [message for message in lane.messages if message.id not in settled]
        reason, later = str(lane.failure), not self._is_given_up(hook, hooks)
        if not later:
            reason = f"{reason}; parked, so that other Zaps go on: replay it when this one works"
        return [
            *lane.rejections,
            *(Rejection(message.id, reason, retryable=later) for message in left),
        ]

    def _is_given_up(self, hook: _Hook, hooks: Sequence[_Hook]) -> bool:
        """Return whether *hook* has failed for long, while another one works."""
        since = hook.failing_since
        if since is None or self._now() - since < self._settings.patience.total_seconds():
            return False
        return any(other.failing_since is None for other in hooks)


class _Unsubscribed(Exception):
    """Zapier says that the Zap is off."""


@functools.lru_cache(maxsize=1024)
def _exactly(name: str) -> re.Pattern[str]:
    import re

    return re.compile(re.escape(name))


def _message(line: bytes) -> _Message:
    wire = jsonbytes.loads(line)
    customer = wire["customer"] or {}
    ids = (("u", customer.get("user_id")), ("a", customer.get("anonymous_id")))
    return _Message(
        wire["id"],
        wire["name"],
        wire.get("recorded_at"),
        frozenset(f"{kind}{value}" for kind, value in ids if value is not None),
        line,
    )
