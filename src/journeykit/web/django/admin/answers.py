"""Pages about answers: the scores, and what was said, the newest first."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from journeykit.feedback.given import Wanted
from journeykit.model.score import number
from journeykit.web.django.admin.pages import Pages

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit
    from journeykit.model.casework import Answer
    from journeykit.model.score import Score

#: How many answers a page has.
_PAGE: Final = 50

_NAMES: Final = {"nps": "NPS", "csat": "CSAT", "ces": "CES"}

#: What an answer calls the question for the score, which has a column of its own.
_SCORE: Final = "score"


class FilterForm(forms.Form):
    """Which answers to show."""

    prompt = forms.ChoiceField(label=gettext_lazy("Prompt"), required=False)
    at_least = forms.IntegerField(label=gettext_lazy("Score from"), required=False)
    at_most = forms.IntegerField(label=gettext_lazy("Score to"), required=False)
    since = forms.DateField(
        label=gettext_lazy("From"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    until = forms.DateField(
        label=gettext_lazy("To"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, prompts: list[str], data: Any) -> None:
        super().__init__(data)
        choices = [("", gettext_lazy("All")), *((key, key) for key in prompts)]
        self.fields["prompt"].choices = choices

    def wanted(self) -> Wanted:
        """Return what was chosen; what is none is left out."""
        self.is_valid()
        chosen = {
            name: value for name, value in self.cleaned_data.items() if value not in ("", None)
        }
        if "since" in chosen:
            chosen["since"] = _begin(chosen["since"])
        last = chosen.pop("until", date.max)
        if last < date.max:
            chosen["until"] = _begin(last + timedelta(days=1))
        return Wanted(**chosen)


class AnswerPages(Pages):
    """Answers."""

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show the scores, and answers a page at a time."""
        before = request.GET.get("before") or None
        # They read every impression, and are the same on each page.
        scores = kit.feedback.scores() if before is None else ()
        declared = (prompt.key for prompt in kit.feedback.prompts)
        chosen_before = [request.GET["prompt"]] if before and request.GET.get("prompt") else []
        keys = list(dict.fromkeys([*declared, *(score.prompt for score in scores), *chosen_before]))
        form = FilterForm(keys, request.GET)
        found = kit.feedback.answers(form.wanted(), before=before, limit=_PAGE)
        chosen = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
        return self.page(
            request,
            kit,
            "answers",
            capfirst(self.opts.verbose_name_plural),
            scores=[_score(each) for each in scores],
            form=form,
            rows=[self._row(request, answer) for answer in found.answers],
            narrowed=bool(chosen),
            begins=before is None,
            next_query=None
            if found.before is None
            else urlencode({**chosen, "before": found.before}),
            first_query=urlencode(chosen),
            declared=bool(kit.settings.prompts),
        )

    def _row(self, request: Any, answer: Answer) -> dict[str, Any]:
        who = answer.customer
        return {
            "answer": answer,
            "person": self.person(request, who) if who else None,
            "said": {key: value for key, value in answer.answers.items() if key != _SCORE},
        }


def _score(score: Score) -> dict[str, Any]:
    """Return a score as a line."""
    figures = score.figures
    first = figures.measures[0] if figures.measures else None
    return {
        "score": score,
        "name": _NAMES.get(score.kind, score.kind),
        "figures": figures,
        "value": None if first is None else number(first.metric, first.value),
        "low": None if first is None else number(first.metric, first.low),
        "high": None if first is None else number(first.metric, first.high),
        "metric": None if first is None else first.metric.value,
    }


def _begin(day: date) -> datetime:
    """Return when a day begins where the reader is."""
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
