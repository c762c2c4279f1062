from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.web.django.admin import shop
from tests.web.django.admin.conftest import ours
from tests.web.django.admin.pages import details

from journeykit import Customer, JourneyKit
from journeykit.feedback.casework import Casework
from journeykit.model.casework import CaseStatus
from journeykit.web.visitor import COOKIE

PROMPT = "prompt/after/change/"


def form_of(text: str) -> dict[str, str]:
    """Return what the first long form of a page would send, as it stands."""
    from html import unescape

    (form,) = re.findall(
        r'<form method="post" class="jk-form" novalidate>(.*?)</form>', text, re.DOTALL
    )
    found = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name is None or ('type="checkbox"' in tag and "checked" not in tag):
            continue
        found[name[1]] = "on" if 'type="checkbox"' in tag else unescape(value[1] if value else "")
    for name, value in re.findall(
        r'<textarea name="([^"]+)"[^>]*>\n?(.*?)</textarea>', form, re.DOTALL
    ):
        found[name] = unescape(value)
    found.pop("csrfmiddlewaretoken", None)
    return found


def save(boss: Any, page: str = PROMPT, **changes: Any) -> Any:
    """Open a form, change some of it, send it, and follow where it leads."""
    given = form_of(boss.text(page)) | {"reason": "a trial"}
    for name, value in changes.items():
        key = name.replace("__", ".")
        given[key] = value
        if value is None:
            del given[key]
    return boss.client.post(f"/admin/journeykit/{page}", given, follow=True)


def paths(kit: JourneyKit) -> dict[str, Any]:
    """Return path → the last value that it was given."""
    return {change.path: change.new for change in reversed(kit.feedback.changes())}


# Prompts


def test_a_form_that_was_not_touched_changes_nothing(boss: Any) -> None:
    """What is sent as it was shown is no change, neither of a prompt nor of what holds for all."""
    for page in (PROMPT, "prompt/why/change/", "prompt/caps/"):
        assert "Nothing was changed" in ours(save(boss, page))
    assert boss.kit.feedback.changes() == []


def test_lines_of_a_text_are_not_changed_by_a_browser(
    make_kit: Callable[..., JourneyKit], sign_in: Any
) -> None:
    """A browser ends lines in its own way, and blanks around a text get lost: that is no change."""
    boss = sign_in(name="boss", is_superuser=True)
    boss.kit = make_kit(shop.TOML.replace('"Why?"', '"""Why?\\nReally? """'))
    boss.kit.track("Product Viewed", customer="1")
    shop.settle(boss.kit)
    page = "prompt/why/change/"
    text = form_of(boss.text(page))["text.*"].replace("\n", "\r\n")
    sent = form_of(boss.text(page)) | {"text.*": text, "reason": "none"}
    boss.client.post(f"/admin/journeykit/{page}", sent)
    assert paths(boss.kit) == {}
    boss.client.post(f"/admin/journeykit/{page}", sent | {"text.*": "One\r\nTwo"})
    assert paths(boss.kit) == {"prompts.why.text.*": "One\nTwo"}


def test_a_prompt_is_switched_off_and_on(boss: Any) -> None:
    """Switched off it is asked no more at once, and the page says who did so, when and why."""
    response = save(boss, on=None)
    assert "Prompt after is changed" in ours(response)
    assert boss.kit.feedback.prompt("after").on is False
    (change,) = boss.kit.feedback.changes()
    assert (change.path, change.old, change.new) == ("prompts.after.on", True, False)
    assert (change.actor, change.reason) == ("boss", "a trial")
    text = boss.text("prompt/")
    assert "boss: a trial" in text
    assert "Changed by boss on" in boss.text(PROMPT)
    save(boss, on="on")
    assert boss.kit.feedback.prompt("after").on is True
    assert paths(boss.kit) == {"prompts.after.on": None}


def test_texts_and_figures_are_changed_together(boss: Any) -> None:
    """Several fields are changed at once, in several languages."""
    save(
        boss,
        text__en="And how was it?",
        low__ar="سيئ",
        low__en="Bad",
        ask__sample="0.25",
        ask__every="30d",
        ask__limit="500",
        priority="60",
    )
    prompt = boss.kit.feedback.prompt("after")
    assert prompt.text("en") == "And how was it?"
    assert prompt.low("ar") == "سيئ"
    assert (prompt.ask.sample, prompt.ask.limit, prompt.priority) == (0.25, 500, 60)
    assert prompt.ask.every.days == 30
    assert {change.reason for change in boss.kit.feedback.changes()} == {"a trial"}
    text = boss.text(PROMPT)
    assert "Declared: How was it?" in text


def test_an_empty_field_is_as_declared(boss: Any) -> None:
    """A field that is emptied, or set to what is declared, goes back to the declaration."""
    save(boss, text__en="Else?", ask__sample="0.5")
    save(boss, text__en="", ask__sample="1.0")
    assert paths(boss.kit) == {"prompts.after.text.en": None, "prompts.after.ask.sample": None}
    assert boss.kit.feedback.prompt("after").text("en") == "How was it?"


def test_everything_goes_back_to_what_is_declared(boss: Any) -> None:
    """One button takes back all changes of a prompt, and the history keeps them."""
    save(boss, on=None, text__en="Else?")
    response = save(boss, what="reset")
    assert "as declared again" in ours(response)
    assert set(paths(boss.kit).values()) == {None}
    assert len(boss.kit.feedback.changes("after")) == 4
    assert "Back to what is declared" not in boss.text(PROMPT)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("ask.sample", "2", "from 0 to 1"),
        ("ask.sample", "much", "Enter a number"),
        ("ask.every", "soon", "soon"),
        ("ask.limit", "0", "from 1 to"),
        ("priority", "101", "0 to 100"),
        ("priority", "1.5", "Enter a whole number"),
        ("text.en", "x" * 1001, "at most 1000 characters"),
        ("reason", "", "required"),
        ("seen", "junk", "load the page again"),
        ("seen", "[]", "load the page again"),
        ("seen", "[" * 100_000, "load the page again"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(boss: Any, field: str, value: str, said: str) -> None:
    """A value that is none is refused with the kit's own words, at the field, and nothing changes."""
    response = save(boss, **{field.replace(".", "__"): value, "on": None})
    text = ours(response)
    place = text.partition(f'name="{field}"')[0].rpartition("jk-field")[2]
    assert said in (text if field == "seen" else place)
    assert boss.kit.feedback.changes() == []
    # What somebody has changed besides is not lost.
    (checkbox,) = re.findall(r'<input[^>]* name="on"[^>]*>', text)
    assert "checked" not in checkbox


def test_another_language_is_added_whole(make_kit: Callable[..., JourneyKit], sign_in: Any) -> None:
    """Another language comes with each of the prompt's texts, or not at all."""
    boss = sign_in(name="boss", is_superuser=True)
    toml = shop.TOML.replace("then = [", 'high = { en = "Good", ar = "جيد" }\n# ')
    boss.kit = make_kit(toml)
    boss.kit.track("Product Viewed", customer="1")
    shop.settle(boss.kit)
    text = ours(save(boss, new_language="pt-BR", new_text="Como foi?"))
    place = text.partition('name="new_high"')[0].rpartition("jk-field")[2]
    assert "needs all of these" in place
    text = ours(save(boss, new_language="no tag!", new_text="?", new_high="?"))
    place = text.partition('name="new_language"')[0].rpartition("jk-field")[2]
    assert "errorlist" in place
    assert boss.kit.feedback.changes() == []
    save(boss, new_language="pt-BR", new_text="Como foi?", new_high="Bom")
    prompt = boss.kit.feedback.prompt("after")
    assert (prompt.text("pt-br"), prompt.high("pt-br")) == ("Como foi?", "Bom")
    assert 'name="high.pt-br"' in boss.text(PROMPT)


def test_a_prompt_with_further_questions_gets_no_language(boss: Any) -> None:
    """Where the further questions would lack a language, the form does not offer another."""
    assert "new_language" not in boss.text(PROMPT)


def test_texts_that_need_each_other_are_refused_alone(boss: Any) -> None:
    """A text in one language is refused where the question has two, and taken with the other."""
    text = ours(save(boss, low__ar="سيئ"))
    place = text.partition('name="low.ar"')[0].rpartition("jk-field")[2]
    assert "Has no text in &#x27;en&#x27;" in place
    save(boss, low__ar="سيئ", low__en="Bad")
    assert boss.kit.feedback.prompt("after").low("ar") == "سيئ"


def test_somebody_else_was_quicker(boss: Any) -> None:
    """What has changed since the form was opened is not overwritten unseen."""
    given = form_of(boss.text(PROMPT))
    boss.kit.feedback.set("prompts.after.text.en", "Mia's words", actor="mia", reason="hers")
    shop.settle(boss.kit)
    given |= {"text.en": "My words", "reason": "mine"}
    response = boss.client.post(f"/admin/journeykit/{PROMPT}", given, follow=True)
    assert "Somebody has changed it meanwhile" in ours(response)
    assert "Mia&#x27;s words" in ours(response)
    assert boss.kit.feedback.prompt("after").text("en") == "Mia's words"
    # Another field of the same prompt is nobody's business.
    given |= {"text.en": "How was it?", "priority": "70"}
    boss.client.post(f"/admin/journeykit/{PROMPT}", given, follow=True)
    assert boss.kit.feedback.prompt("after").priority == 70
    assert boss.kit.feedback.prompt("after").text("en") == "Mia's words"


def test_caps_are_changed_for_all_prompts(boss: Any) -> None:
    """What holds for all prompts is changed in words, and checked in the same way."""
    save(boss, "prompt/caps/", caps="1 per 7d\n 2 per 90d of nps\n\n3", quiet="3d")
    feedback = boss.kit.feedback.settings(None)
    values = {each.name: each.value for each in feedback}
    assert values["caps"] == [
        {"most": 1, "per": "7d"},
        {"most": 2, "per": "90d", "group": "nps"},
        {"most": 3},
    ]
    assert values["quiet"] == "3d"
    assert "1 per 7d\n2 per 90d of nps\n3" in boss.text("prompt/caps/")
    assert "is no cap" in ours(save(boss, "prompt/caps/", caps="as many as you like"))
    assert "is no cap" in ours(save(boss, "prompt/caps/", caps="9" * 5000 + " per 7d"))
    assert "from 5 to" in ours(save(boss, "prompt/caps/", min_answers="1"))
    save(boss, "prompt/caps/", caps="")
    assert paths(boss.kit)["feedback.caps"] is None


def test_a_change_that_does_not_count_any_more_is_told(
    boss: Any, make_kit: Callable[..., JourneyKit]
) -> None:
    """Where a prompt is declared no more, its changes are listed with the reason."""
    save(boss, on=None)
    boss.kit.close()
    toml = shop.TOML.replace('"after"', '"afterwards"')
    make_kit(toml)
    assert "prompts.after.on" in boss.text("prompt/").partition("do not count")[2]


def test_django_tells_who_did_what(boss: Any) -> None:
    """The admin's own history of recent actions has each change, with a link."""
    save(boss, on=None)
    text = boss.client.get("/admin/").content.decode()
    assert 'href="/admin/journeykit/prompt/after/change/"' in text


def test_a_colleague_is_no_customer(boss: Any) -> None:
    """What a colleague does is about nobody, or about who has complained, and leaves no cookie."""
    save(boss, on=None)
    decide(boss, "mute")
    work(boss, "note", text="?")
    shop.settle(boss.kit)
    events = [each.event() for each in boss.kit.store.read(None, 10_000)]
    whose = {event.name: event.customer for event in events if event.actor == "boss"}
    assert (whose["setting.changed"], whose["pain_point.muted"]) == (Customer(), Customer())
    assert whose["case.noted"] == Customer("2")
    assert COOKIE not in boss.client.cookies


def test_a_colleague_whose_name_is_an_address(boss: Any) -> None:
    """A user name that is an e-mail address is not written into the Log."""
    boss.user.username = "mia@example.org"
    boss.user.save()
    save(boss, on=None)
    (change,) = boss.kit.feedback.changes()
    assert change.actor == f"user {boss.user.pk}"
    boss.user.delete()


# Pain points


def decide(boss: Any, what: str, reason: str = "known", **more: str) -> Any:
    """Decide about the pain point."""
    return boss.post("painpoint/payment.declined/change/", what=what, reason=reason, **more)


def test_a_pain_point_is_muted_and_not_muted_any_more(boss: Any) -> None:
    """What is muted is left out of the list, says by whom and why, and can be taken back."""
    assert "Pain point payment.declined is muted" in ours(decide(boss, "mute"))
    assert "payment.declined" not in boss.text("painpoint/")
    assert "muted" in boss.text("painpoint/", all="1")
    figures, _ = boss.kit.pain_point("payment.declined")
    assert (figures.muted.actor, figures.muted.reason) == ("boss", "known")
    assert "Muted by boss on" in boss.text("painpoint/payment.declined/change/")
    decide(boss, "unmute")
    assert "payment.declined" in boss.text("painpoint/")


def test_a_pain_point_is_resolved_with_its_cause(boss: Any) -> None:
    """What is resolved is left out of the list, with its cause kept."""
    decide(boss, "resolve", "a new provider", cause="the old provider")
    assert "payment.declined" not in boss.text("painpoint/")
    text = boss.text("painpoint/payment.declined/change/")
    assert "Resolved by boss on" in text
    assert "Causes: the old provider" in text


@pytest.mark.parametrize(("what", "reason"), [("mute", ""), ("", "known"), ("drop", "known")])
def test_a_decision_that_is_none(boss: Any, what: str, reason: str) -> None:
    """Without a reason, or without saying what, nothing is decided."""
    response = decide(boss, what, reason)
    assert "errorlist" in ours(response)
    figures, _ = boss.kit.pain_point("payment.declined")
    assert (figures.muted, figures.resolved) == (None, None)


# Cases


def work(boss: Any, what: str, **given: str) -> Any:
    """Do something about the case of customer 2."""
    sent = {f"{what}-{name}": value for name, value in given.items()}
    return boss.client.post(
        f"/admin/journeykit/{details(boss)['case']}", {"what": what, **sent}, follow=True
    )


def case_of(boss: Any) -> Any:
    """Return the case of customer 2."""
    (case,) = boss.kit.cases.list(customer="2", everything=True)
    return case


def test_the_way_of_a_case(boss: Any) -> None:
    """It is assigned, acknowledged, waits, goes on, gets a note, is resolved and open again."""
    work(boss, "assign", owner="mia")
    assert case_of(boss).owner == "mia"
    work(boss, "acknowledge")
    assert case_of(boss).status is CaseStatus.ACKNOWLEDGED
    work(boss, "wait", reason="asked for the parcel's number")
    assert case_of(boss).status is CaseStatus.WAITING
    assert "stands still" in boss.text(details(boss)["case"])
    work(boss, "resume")
    work(boss, "note", text="The parcel was at the neighbour's.")
    work(boss, "resolve", cause="the courier", action="money back")
    case = case_of(boss)
    assert (case.status, case.cause, case.action) == ("resolved", "the courier", "money back")
    assert case.id in boss.text("case/", state="resolved")
    work(boss, "reopen", reason="it came back")
    assert case_of(boss).status is CaseStatus.REOPENED
    text = boss.text(details(boss)["case"])
    assert "The parcel was at the neighbour&#x27;s." in text
    assert {each.actor for each in case_of(boss).history} == {None, "boss"}


def test_colleagues_are_offered_as_owners(boss: Any, sign_in: Any) -> None:
    """Who comes into the admin, and who is declared, is offered; a click takes it oneself."""
    sign_in(name="mia")
    sign_in(name="shopper", staff=False)
    text = boss.text(details(boss)["case"])
    owners = re.findall(r'<option value="([^"]+)"></option>', text)
    assert {"boss", "mia", "care"} <= set(owners)
    assert "shopper" not in owners
    assert 'name="assign-owner" value="boss"' in text


@pytest.mark.parametrize(
    ("what", "given", "field", "said"),
    [
        ("assign", {"owner": ""}, "assign-owner", "required"),
        ("assign", {"owner": "mia@example.org"}, "assign-owner", "e-mail"),
        ("assign", {"owner": "x" * 201}, "assign-owner", "at most 200"),
        ("resolve", {"cause": "the moon", "action": "money back"}, "resolve-cause", "the moon"),
        ("resolve", {"cause": "the stock", "action": ""}, "resolve-action", "required"),
        ("wait", {"reason": "  "}, "wait-reason", "required"),
        ("note", {"text": "x" * 2001}, "note-text", "at most 2000"),
    ],
)
def test_what_is_wrong_with_work_is_said_at_its_field(
    boss: Any, what: str, given: dict[str, str], field: str, said: str
) -> None:
    """What is missing or unknown is said at its field, and nothing is recorded."""
    before = case_of(boss).history
    text = ours(work(boss, what, **given))
    assert said in text.partition(f'name="{field}"')[0].rpartition("jk-field")[2]
    assert case_of(boss).history == before


def test_two_people_work_the_same_case(boss: Any) -> None:
    """What cannot be done any more, for somebody was quicker, is said with how it is now."""
    case = case_of(boss)
    boss.kit.cases.resolve(case.id, cause="the stock", action="a new one", actor="mia")
    shop.settle(boss.kit)
    text = ours(work(boss, "resolve", cause="the courier", action="money back"))
    assert "is resolved; reopen it first" in text
    assert case_of(boss).cause == "the stock"
    assert "Choose what to do" not in text


def test_a_customer_is_erased_while_a_case_is_opened(
    boss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A case that goes between two looks at it is told to be none."""
    page, get = details(boss)["case"], Casework.get

    def get_and_erase(self: Casework, key: str) -> Any:
        case = get(self, key)
        assert boss.kit.erase("2", actor="mia", reason="asked for it")
        shop.settle(boss.kit)
        return case

    monkeypatch.setattr(Casework, "get", get_and_erase)
    response = boss.client.get(f"/admin/journeykit/{page}", follow=True)
    assert "There is no case" in ours(response)


def test_work_that_is_none(boss: Any) -> None:
    """What cannot be done at all is refused."""
    before = case_of(boss).history
    assert work(boss, "explode").status_code == 200
    assert work(boss, "list").status_code == 200
    assert case_of(boss).history == before


# Parked events


def test_what_is_chosen_is_tried_again(boss: Any, wait_until: Any) -> None:
    """It is asked first; then what was chosen is tried again, and stays if it fails again."""
    (item,) = boss.kit.parked()
    response = boss.post("parkedevent/replay/", number=item.number)
    assert "Yes, I’m sure" in ours(response)
    assert "replayed" not in boss.kit.store.counters()
    response = boss.post("parkedevent/replay/", number=item.number, confirmed="yes")
    assert "1 event is tried again" in ours(response)
    assert boss.kit.store.counters()["replayed"] == 1
    wait_until(lambda: not boss.kit.parked()[0].replay)
    assert [each.number for each in boss.kit.parked()] == [item.number]


def test_what_a_sink_takes_now_is_gone(boss: Any, monkeypatch: Any, wait_until: Any) -> None:
    """All of a sink are tried again at once, and those that it takes are parked no more."""
    monkeypatch.setattr(shop.Refusing, "deliver", lambda *_: None)
    response = boss.post("parkedevent/replay/", owner="sink:crm")
    assert "1 event of sink:crm is tried again" in ours(response)
    boss.post("parkedevent/replay/", owner="sink:crm", confirmed="yes")
    wait_until(lambda: boss.kit.parked() == [])
    assert "Nothing is parked" in boss.text("parkedevent/")


@pytest.mark.parametrize(
    "sent", [{}, {"owner": "sink:none"}, {"number": "x"}, {"number": "-1", "confirmed": "yes"}]
)
def test_nothing_was_chosen(boss: Any, sent: dict[str, str]) -> None:
    """Without a choice the list says what to do, and nothing is tried again."""
    assert "Choose what to try again first" in ours(boss.post("parkedevent/replay/", **sent))
    assert "replayed" not in boss.kit.store.counters()


def test_what_is_taken_while_somebody_asks(boss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink's last parked event may go while a page asks whether to try it again."""
    counts = [{"crm": 1}, {}]
    monkeypatch.setattr(type(boss.kit.store), "parked_counts", lambda _: counts.pop(0))
    response = boss.client.post("/admin/journeykit/parkedevent/replay/", {"owner": "crm"})
    assert "Try again?" in ours(response)


def test_what_is_gone_meanwhile_is_not_tried_again(boss: Any) -> None:
    """A number that is parked no more is told."""
    response = boss.post("parkedevent/replay/", number="999", confirmed="yes")
    assert "Nothing waits" in ours(response)


# Where it cannot be recorded


def test_a_change_that_cannot_be_recorded(boss: Any, tmp_path: Path) -> None:
    """Where the kit refuses, the page says so with the reason, and is no error."""
    given = form_of(boss.text(PROMPT)) | {"reason": "late"}
    del given["on"]
    boss.kit.close()
    response = boss.client.post(f"/admin/journeykit/{PROMPT}", given, follow=True)
    assert response.status_code == 200
    assert "It was not recorded" in ours(response)


def test_a_change_that_nobody_folds_yet(
    boss: Any, make_kit: Callable[..., JourneyKit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that is left to a worker, and none runs, the page says that it shows later."""
    from journeykit.web.django.admin import pages

    monkeypatch.setattr(pages, "_PATIENCE", 0.1)
    case = details(boss)["case"]
    boss.kit.close()
    boss.kit = make_kit(head='stages = "worker"')
    sent = {"what": "note", "note-text": "later"}
    response = boss.client.post(f"/admin/journeykit/{case}", sent, follow=True)
    assert response.status_code == 200
    assert "shows as soon as it was folded" in ours(response)
    assert "not folded yet" in boss.text("case/")


def test_the_state_of_a_form_is_json(boss: Any) -> None:
    """The form carries what it has shown, so that a later change is noticed."""
    seen = json.loads(form_of(boss.text(PROMPT))["seen"])
    assert seen["on"] is True
    assert seen["text.en"] == "How was it?"
