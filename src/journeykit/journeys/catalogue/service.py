"""What goes wrong after the order, and between the customer and the people who help."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from journeykit.journeys.catalogue.common import (
    CONVERSATION,
    ORDER,
    WORTH,
    count,
    derived,
    duration,
    ids,
    key_of,
    micros,
    names,
    number,
    text,
    within,
)
from journeykit.model.pain_point import Severity
from journeykit.model.rule import EventView, Found, PainPointRule, Stepped
from journeykit.model.times import to_micros

_PROMISES = ("promised_at", "promised_delivery", "estimated_delivery", "delivery_promised_at")
_DAY = 86_400_000_000


@attrs.frozen(kw_only=True)
class ReplySlow(PainPointRule):
    """
    A question that nobody answers in the time that its channel promises.

    Found when that time is over; the answer is its recovery.
    An answer of a machine (`is_bot`, `automated`) is none.

    Default: chat 2 minutes, social media 1 hour, e-mail 4 hours, a form 8 hours (what the makers of
    help desks write), anything else 24 hours.

    Args:
        on: The customer asks: `conversation_id` or `ticket_id`, and the channel.

        answered: A person answers.

        chat, social, email, form, other: How long an answer may take in each channel.
    """

    code = "reply.slow"

    on: tuple[str, ...] = names("Live Chat Conversation Started", "Support Requested")
    answered: tuple[str, ...] = names("Live Chat Message Received", "Support Replied")
    chat: timedelta = duration(minutes=2)
    social: timedelta = duration(hours=1)
    email: timedelta = duration(hours=4)
    form: timedelta = duration(hours=8)
    other: timedelta = duration(hours=24)
    also: tuple[str, ...] = derived(lambda self: self.answered)
    lasts: timedelta | None = derived(lambda _: timedelta(days=30))

    def key(self, event: EventView) -> str | None:
        """Return the conversation."""
        machine = event.properties.get("is_bot"), event.properties.get("automated")
        if event.name in self.answered and True in machine:
            return None
        return key_of(event, CONVERSATION)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the question that waits: its event, until when, and whether it was found."""
        if event.name in self.answered:
            return Stepped(recovered=bool(memory and memory[2]))
        question, until, was_found = memory or (event.id, event.at + self._promise(event), 0)
        memory = [question, until, was_found]
        return Stepped(memory, wake_at=None if was_found else until)

    def wake(self, memory: Any, at: int) -> Stepped:
        """Find that nobody has answered."""
        question, until, _ = memory
        return Stepped([question, until, 1], [Found((question,))])

    def _promise(self, event: EventView) -> int:
        channel = text(event, ("channel",)) or event.channel
        if channel is None and event.name.startswith("Live Chat"):
            channel = "chat"
        known = {"chat": self.chat, "social": self.social, "email": self.email, "form": self.form}
        return micros(known.get(str(channel), self.other))


@attrs.frozen(kw_only=True)
class ContactRepeated(PainPointRule):
    """
    The same customer asks again about the same thing.

    Default: 2 contacts about one order or topic in 7 days (our recommendation).

    Args:
        on: The customer asks: `order_id` or `topic`.

        contacts: How many; each further one in the window counts too.

        window: In how much time.
    """

    code = "contact.repeated"

    on: tuple[str, ...] = names("Live Chat Conversation Started", "Support Requested")
    contacts: int = count(2, 2)
    window: timedelta = duration(days=7)
    lasts: timedelta | None = derived(lambda self: self.window)

    def key(self, event: EventView) -> str | None:
        """Return the order, or the topic."""
        return key_of(event, (*ORDER, "topic"))

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count the contacts of the window."""
        pairs = within(memory, event, micros(self.window), self.contacts)
        found = [Found(ids(pairs))] if len(pairs) >= self.contacts else []
        return Stepped(pairs, found)


@attrs.frozen(kw_only=True)
class ScoreLow(PainPointRule):
    """
    A score that says that it hurt.

    Default: NPS 0 to 6 (the detractors), CSAT 1 to 2, CES 1 to 3 (Qmeter, Zonka).

    Args:
        on: A score was given: `kind` is `nps`, `csat` or `ces`, and `score`. Of several with one
            `impression` the first counts: a prompt says again what was answered before.

        nps, csat, ces: The highest score that is low.
    """

    code = "score.low"
    severity = Severity.HIGH

    on: tuple[str, ...] = names("Score Given", "prompt.answered")
    nps: int = count(6, 0)
    csat: int = count(2, 0)
    ces: int = count(3, 0)

    def key(self, event: EventView) -> str | None:
        """Return the prompt, if its score is low."""
        kind = str(event.properties.get("kind", "")).lower()
        limit = self._limits.get(kind)
        score = number(event.properties, "score")
        if limit is None or score is None or score > limit:
            return None
        return text(event, ("prompt",)) or kind

    @property
    def _limits(self) -> dict[str, int]:
        nps = dict.fromkeys(("nps", "nps+", "nps_plus"), self.nps)
        return {**nps, "csat": self.csat, "ces": self.ces}

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Find it, once for each impression."""
        impression = text(event, ("impression",))
        if impression is not None and impression == memory:
            return Stepped(memory)
        return Stepped(impression, [Found()])


@attrs.frozen(kw_only=True)
class DeliveryLate(PainPointRule):
    """
    An order that came later than was promised.

    The promise is a property of the delivery or of an earlier event of the order: `promised_at`,
    `promised_delivery` or `estimated_delivery`; a day without a time is kept until its end.

    Default: any delay is medium, more than 2 days are high (our recommendation).

    Args:
        on: The order came: `order_id`, and `delivered_at` where that is not when it occurred.

        promised: Events that may hold the promise.

        high: From which delay on it is high.
    """

    code = "delivery.late"

    on: tuple[str, ...] = names("Order Delivered")
    promised: tuple[str, ...] = names("Order Completed", "Order Updated", "Order Shipped")
    high: timedelta = duration(days=2)
    also: tuple[str, ...] = derived(lambda self: self.promised)
    lasts: timedelta | None = derived(lambda _: timedelta(days=90))

    def key(self, event: EventView) -> str | None:
        """Return the order; what holds no promise means nothing before the delivery."""
        if event.name in self.promised and _promise(event) is None:
            return None
        return key_of(event, ORDER)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the promise."""
        promise = _promise(event)
        if event.name in self.promised:
            return Stepped(promise)
        promise = memory if promise is None else promise
        if promise is None:
            return Stepped()
        came = _instant(event.properties.get("delivered_at"), end=False)
        late = (event.at if came is None else came) - promise
        if late <= 0:
            return Stepped()
        severity = Severity.HIGH if late > micros(self.high) else Severity.MEDIUM
        properties = {"days_late": round(late / _DAY, 2)}
        return Stepped(None, [Found((), severity, None, properties)])


def _promise(event: EventView) -> int | None:
    for key in _PROMISES:
        found = _instant(event.properties.get(key), end=True)
        if found is not None:
            return found
    return None


def _instant(value: Any, *, end: bool) -> int | None:
    """Return what a text says in microseconds; of a day alone its *end*, or its beginning."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        at = to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
    return at + _DAY if end and len(value) <= len("2026-01-01") else at


@attrs.frozen(kw_only=True)
class OrderCancelled(PainPointRule):
    """
    An order that was cancelled.

    Default: high within 14 days of the order (our recommendation), else medium.

    Args:
        on: The order was cancelled: `order_id`, `reason`.

        made: The order was made.

        soon: How soon after that it is high.
    """

    code = "order.cancelled"

    on: tuple[str, ...] = names("Order Cancelled")
    made: tuple[str, ...] = names("Order Completed")
    soon: timedelta = duration(days=14)
    also: tuple[str, ...] = derived(lambda self: self.made)
    lasts: timedelta | None = derived(lambda self: self.soon)

    def key(self, event: EventView) -> str | None:
        """Return the order; one that is made and has no id cannot be told again."""
        return text(event, ORDER) if event.name in self.made else key_of(event, ORDER)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember when it was made."""
        if event.name in self.made:
            return Stepped(event.at)
        soon = memory is not None and event.at - memory <= micros(self.soon)
        return Stepped(None, [_undone(event, Severity.HIGH if soon else Severity.MEDIUM)])


@attrs.frozen(kw_only=True)
class OrderReturned(PainPointRule):
    """
    Goods that came back.

    Default: each (our recommendation).

    Args:
        on: An order, or a part of one, was returned: `order_id`, `reason`.
    """

    code = "order.returned"

    on: tuple[str, ...] = names("Order Returned")

    def key(self, event: EventView) -> str | None:
        """Return the order."""
        return key_of(event, ORDER)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Find it."""
        return Stepped(None, [_undone(event, Severity.MEDIUM)])


@attrs.frozen(kw_only=True)
class OrderRefunded(OrderReturned):
    """
    Money that went back.

    Default: each (our recommendation).

    Args:
        on: An order, or a part of one, was refunded: `order_id`, `reason`.
    """

    code = "order.refunded"

    on: tuple[str, ...] = names("Order Refunded")


def _undone(event: EventView, severity: Severity) -> Found:
    reason = text(event, ("reason",))
    properties = {} if reason is None else {"reason": reason}
    return Found((), severity, number(event.properties, *WORTH), properties)
