"""When each hook is asked, and in which thread: the plugin author's page, held against a kit."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import click
import pytest
from tests.test_docs import hooks, sections, signature

from journeykit import Event, JourneyKit, Prompt, Rejection, When, hookimpl
from journeykit.feedback.selecting import Selector
from journeykit.model.customer import Customer
from journeykit.model.event import Kind
from journeykit.model.impression import Candidate, Page
from journeykit.model.times import to_datetime
from journeykit.store.memory import MemoryStore
from journeykit.testing import NOON, RecordingSink

ASKED = sorted(hooks())

TOML = """
[journeykit]
store = "memory://"

[consent]
mode = "opt_out"

[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"

[[prompts]]
key = "after"
kind = "csat"
text = "How was it?"
when = { event = "Order Completed" }

[cases]
rules = [{ key = "unhappy", when = { prompt = "after" } }]
"""

#: A complaint.
ANSWER = {"impression": "i1", "prompt": "after", "kind": "csat", "seq": 1, "complete": True}
ANSWER |= {"answers": {"score": 1}, "score": 1, "scale": [1, 5]}

#: What a hook is asked about.
Calls = dict[str, list[tuple[str, str]]]


class Refusing(RecordingSink):
    """Refuses what is called so."""

    def deliver(self, batch: Any) -> Any:
        """Keep the others."""
        super().deliver(batch)
        return [Rejection(event.id, "no") for event in batch if event.name == "Refused"]


def noting(calls: Calls) -> Any:
    """Return a plugin that implements every hook that is asked, and notes what it is asked."""

    def about(hook: str) -> Any:
        @hookimpl
        def asked(event: Event) -> None:
            calls[hook].append((threading.current_thread().name, event.name))
            if hook == "accept_event" and event.name == "Unclear":
                raise RuntimeError("nobody knows")

        return asked

    def plain(hook: str) -> Any:
        @hookimpl
        def asked() -> None:
            calls[hook].append((threading.current_thread().name, ""))

        return asked

    return SimpleNamespace(
        name="noting",
        **{hook: (about if "(event:" in signature(hook) else plain)(hook) for hook in ASKED},
    )


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Calls:
    """Return hook → the thread in which it was asked and the event, of a whole life of a kit."""
    calls: Calls = defaultdict(list)
    config = tmp_path_factory.mktemp("shop") / "journeykit.toml"
    config.write_text(TOML, encoding="utf-8")
    with JourneyKit.from_toml(config, plugins=[noting(calls)], sinks=[Refusing("crm")]) as kit:
        for name in ("Product Viewed", "Refused", "Unclear"):
            kit.track(name, customer="ada")
        kit.identify("ada")
        kit._record("prompt.answered", ANSWER, "ada", kind=Kind.FACT, actor="customer", reason="")
        assert kit.flush()
        prompts = [Prompt(key=key, kind="text", text="?", when=When(page="/*")) for key in "ab"]
        offered = [Candidate(key=p.key, prompt=p, armed_at=to_datetime(NOON)) for p in prompts]
        Selector(kit.plugins, MemoryStore()).choose(offered, Customer("ada"), Page())
        kit.plugins.register_commands(click.Group("journeykit"))
    return calls


@pytest.mark.parametrize("hook", ASKED)
def test_a_hook_is_asked_in_the_thread_that_its_section_names(hook: str, calls: Calls) -> None:
    """Where a section names threads of journeykit, the hook is asked in those; else in the app's."""
    told = re.search(
        r"\*Thread:\* (.+)\.$", sections("plugin-author.md")[signature(hook)], re.MULTILINE
    )
    assert told is not None
    own = told[1].partition(";")[0]
    named = {name.replace("NAME", "crm") for name in re.findall(r"`(journeykit-[\w-]+)`", own)}
    seen = {thread for thread, _ in calls[hook]}
    assert seen == (named or {threading.current_thread().name})


def test_start_hooks_are_asked_once(calls: Calls) -> None:
    """What a plugin adds is asked for once in the life of a kit."""
    assert {len(calls[hook]) for hook in ASKED if hook.startswith("register_")} == {1}


def test_hooks_before_the_log_are_asked_about_touchpoints_and_facts(calls: Calls) -> None:
    """Events that journeykit derives are not enriched and not put to the vote."""
    names = {"Product Viewed", "Refused", "Unclear", "customer.identified", "prompt.answered"}
    for hook in ("enrich_event", "accept_event"):
        assert {name for _, name in calls[hook]} == names


def test_hooks_while_projecting_are_asked_about_what_is_in_the_log(calls: Calls) -> None:
    """Each event that came to the Log and is not derived is asked about, once for each journey."""
    for hook in ("detect_stage", "detect_pain_points"):
        asked = sorted(name for _, name in calls[hook])
        assert asked == ["Product Viewed", "Refused", "customer.identified", "prompt.answered"], (
            hook
        )


def test_parked_events_are_told_by_who_could_not_take_them(calls: Calls) -> None:
    """The committer tells what a plugin failed on, the sink's thread what the sink refused."""
    assert sorted(calls["event_parked"]) == [
        ("journeykit-committer", "Unclear"),
        ("journeykit-sink-crm", "Refused"),
    ]
