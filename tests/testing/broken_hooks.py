"""Plugins that break one promise each; run by test_hooks.py, which wants to see them fail."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from journeykit import (
    Answer,
    Candidate,
    Case,
    Event,
    Page,
    PainPoint,
    SinkType,
    hookimpl,
)
from journeykit.testing import HookContract

_log = logging.getLogger("broken")


class Sound:
    """Does everything right."""

    breaks: ClassVar[str] = ""
    name = "under-test"

    @hookimpl
    def enrich_event(self, event: Event) -> dict[str, Any] | None:
        """Add a property."""
        return {"price_class": "high"} if "price" in event.properties else None

    @hookimpl
    def accept_event(self, event: Event) -> bool:
        """Withhold one name."""
        return event.name != "Said hello"

    @hookimpl
    def detect_stage(self, event: Event) -> str | None:
        """Name a stage."""
        return "purchase" if event.name == "Order Completed" else None

    @hookimpl
    def detect_pain_points(self, event: Event) -> list[PainPoint]:
        """Find something."""
        return [PainPoint("coupon.denied")] if event.name == "Coupon Denied" else []

    @hookimpl
    def event_parked(self, event: Event, sink: str, reason: str) -> None:
        """Hear of it."""

    @hookimpl
    def select_prompt(self, candidates: Sequence[Candidate], page: Page) -> Candidate | None:
        """Choose on a phone."""
        return candidates[-1] if page.device == "phone" else None

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        """Look for a word."""
        return {"themes": ["price"]} if "price" in str(answer.answers.get("more")) else None

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        """Give what is dear to somebody."""
        return "head-of-service" if case.severity == "critical" else None

    @hookimpl
    def register_commands(self, cli: Any) -> None:
        """Add nothing."""


class Unknown(Sound):
    breaks = "test_contract_plugin_can_be_loaded"

    @hookimpl
    def detect_stage(self, evnt: Event) -> str | None:  # type: ignore[override]
        return None


class Registering(Sound):
    breaks = "test_contract_a_kit_starts_with_it"

    @hookimpl
    def register_sinks(self) -> Any:
        return [SinkType]


class Commanding(Sound):
    breaks = "test_contract_its_commands_can_be_added"

    @hookimpl
    def register_commands(self, cli: Any) -> None:
        cli.add_comand(None)


class Trusting(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def enrich_event(self, event: Event) -> dict[str, Any] | None:
        return {"doubled": event.properties["price"] * 2}


class Choosing(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def select_prompt(self, candidates: Sequence[Candidate], page: Page) -> Any:
        return "welcome"


class Desktop(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def select_prompt(self, candidates: Sequence[Candidate], page: Page) -> Any:
        return candidates[0] if page.device.startswith("desk") else None  # type: ignore[union-attr]


class Hasty(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        return {"themes": [answer.answers["more"][:10]]}


class Inventing(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        return {"mood": "bad"}


class Judging(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        return {"sentiment": -1.0 if answer.score < 3 else 1.0}  # type: ignore[operator]


class Assigning(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def route_case(self, case: Case) -> Any:
        return ["grace", "ada"]


class Praising(Sound):
    breaks = "test_contract_any_event_is_understood"

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        return f"{case.owner.title()} and friends"  # type: ignore[union-attr]


class OnDuty(Sound):
    breaks = "test_contract_the_same_event_leads_to_the_same"
    numbers: ClassVar[Any] = itertools.count()

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        return ("grace", "ada")[next(self.numbers) % 2]


class Feeling(Sound):
    breaks = "test_contract_the_same_event_leads_to_the_same"
    numbers: ClassVar[Any] = itertools.count()

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        return {"sentiment": next(self.numbers)}


class Dicing(Sound):
    breaks = "test_contract_the_same_event_leads_to_the_same"
    numbers: ClassVar[Any] = itertools.count()

    @hookimpl
    def select_prompt(self, candidates: Sequence[Candidate], page: Page) -> Any:
        return candidates[next(self.numbers) % 2]


class Moody(Sound):
    breaks = "test_contract_the_same_event_leads_to_the_same"
    numbers: ClassVar[Any] = itertools.count()

    @hookimpl
    def enrich_event(self, event: Event) -> dict[str, Any] | None:
        return {"number": next(self.numbers)}


class Writing(Sound):
    breaks = "test_contract_events_stay_as_they_were"

    @hookimpl
    def enrich_event(self, event: Event) -> dict[str, Any] | None:
        event.properties["seen"] = True  # type: ignore[index]
        return None


class Tidying(Sound):
    breaks = "test_contract_events_stay_as_they_were"

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        answer.answers.pop("more", None)  # type: ignore[attr-defined]
        return None


class Marking(Sound):
    breaks = "test_contract_events_stay_as_they_were"

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        for each in case.evidence:
            each.answers["routed"] = True
        return None


class Slow(Sound):
    breaks = "test_contract_answers_come_in_time"

    @hookimpl
    def detect_pain_points(self, event: Event) -> list[PainPoint]:
        time.sleep(1.0)
        return []


class Thinking(Sound):
    breaks = "test_contract_answers_come_in_time"

    @hookimpl
    def select_prompt(self, candidates: Sequence[Candidate], page: Page) -> Any:
        time.sleep(0.3)


class Talking(Sound):
    breaks = "test_contract_nothing_private_is_logged"

    @hookimpl
    def event_parked(self, event: Event, sink: str, reason: str) -> None:
        _log.info("parked", extra={"who": event.customer.user_id})


class Quoting(Sound):
    breaks = "test_contract_nothing_private_is_logged"

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        _log.info("answered", extra={"said": answer.answers.get("more")})
        return None


class Telling(Sound):
    breaks = "test_contract_nothing_private_is_logged"

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        _log.info("a case", extra={"of": case.customer.user_id})
        return None


class Asking(Sound):
    breaks = "test_contract_answers_come_in_time"

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        time.sleep(1.0)
        return None


class Refusing(Sound):
    breaks = "test_contract_events_pass_it"

    @hookimpl
    def accept_event(self, event: Event) -> bool:
        if event.name == "Said hello":
            raise RuntimeError("nobody said so")
        return True


class _Contract(HookContract):
    """The contract for a plugin of `kind`."""

    patience = 0.5
    kind: type[Sound] = Sound

    @pytest.fixture
    def plugin(self) -> Sound:
        """Return the plugin."""
        return self.kind()


for each in (Sound, *Sound.__subclasses__()):
    globals()[f"Test{each.__name__}"] = type(f"Test{each.__name__}", (_Contract,), {"kind": each})
