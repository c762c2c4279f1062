"""Pages about cases: whose they are, by when they are due, and what is done about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.paginator import Paginator
from django.http import HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from journeykit.model.casework import CaseStatus
from journeykit.web.django.admin.pages import REASON_LENGTH, Pages
from journeykit.web.django.admin.people import colleagues, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from journeykit.kit import JourneyKit
    from journeykit.model.casework import Case

#: How many cases a page has.
_PAGE: Final = 50

_OWNER_LENGTH: Final = 200
_NOTE_LENGTH: Final = 2000

#: What the list can be narrowed down to.
_STATES: Final = ("open", "overdue", "resolved", "closed")


class WorkForm(forms.Form):
    """
    What somebody does about a case.

    Args:
        names: The fields that it takes.

        choices: Field → what to choose from; anything where there is nothing.
    """

    owner = forms.CharField(
        label=gettext_lazy("Owner"),
        max_length=_OWNER_LENGTH,
        widget=forms.TextInput(attrs={"list": "owners", "autocomplete": "off"}),
        help_text=gettext_lazy("A colleague, a team or a queue."),
    )
    text = forms.CharField(
        label=gettext_lazy("Note"),
        max_length=_NOTE_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    cause = forms.CharField(
        label=gettext_lazy("Root cause"),
        max_length=REASON_LENGTH,
        help_text=gettext_lazy("What lay behind it."),
    )
    action = forms.CharField(
        label=gettext_lazy("Action"),
        max_length=REASON_LENGTH,
        help_text=gettext_lazy("What was done."),
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=REASON_LENGTH)

    def __init__(
        self,
        names: Sequence[str],
        data: Any = None,
        choices: Mapping[str, Sequence[str]] | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(data, prefix=prefix)
        for name in set(self.fields) - set(names):
            del self.fields[name]
        for name, options in (choices or {}).items():
            if options and name in self.fields:
                known = self.fields[name]
                self.fields[name] = forms.ChoiceField(
                    label=known.label,
                    help_text=known.help_text,
                    choices=[("", "---------"), *((each, each) for each in options)],
                )


#: What can be done: the method of `kit.cases` → what it takes.
_WORK: Final = {
    "assign": ("owner",),
    "acknowledge": (),
    "wait": ("reason",),
    "resume": (),
    "note": ("text",),
    "resolve": ("cause", "action"),
    "reopen": ("reason",),
}

#: What stands above each, and on its button.
_LABELS: Final = {
    "assign": (gettext_lazy("Whose it is"), gettext_lazy("Assign")),
    "acknowledge": (gettext_lazy("The customer has had an answer"), gettext_lazy("Acknowledge")),
    "wait": (gettext_lazy("It is the customer’s turn"), gettext_lazy("Wait")),
    "resume": (gettext_lazy("It is our turn again"), gettext_lazy("Resume")),
    "note": (gettext_lazy("A note for colleagues"), gettext_lazy("Add note")),
    "resolve": (gettext_lazy("It is done"), gettext_lazy("Resolve")),
    "reopen": (gettext_lazy("It is not done after all"), gettext_lazy("Reopen")),
}

_DONE: Final = {
    "assign": gettext_lazy("Case %s is assigned."),
    "acknowledge": gettext_lazy("Case %s is acknowledged."),
    "wait": gettext_lazy("Case %s waits for the customer."),
    "resume": gettext_lazy("Case %s goes on."),
    "note": gettext_lazy("The note is added to case %s."),
    "resolve": gettext_lazy("Case %s is resolved."),
    "reopen": gettext_lazy("Case %s is open again."),
}


class CasePages(Pages):
    """Cases."""

    detail_page = "case"
    changes = True

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show cases, what is overdue first."""
        state = request.GET.get("state")
        state = state if state in _STATES else "open"
        owner, rule = request.GET.get("owner"), request.GET.get("rule") or None
        page = None
        if state == "closed":
            before = request.GET.get("before") or None
            found = kit.cases.closed(before=before, limit=_PAGE)
        else:
            page = Paginator(_of(kit, state, owner, rule), _PAGE).get_page(request.GET.get("p"))
            found = list(page)
        cases = kit.settings.cases
        owners = {cases.owner, *(each.owner for each in cases.rules), *(c.owner for c in found)}
        return self.page(
            request,
            kit,
            "cases",
            capfirst(self.opts.verbose_name_plural),
            rows=[self._row(request, each) for each in found],
            state=state,
            states=_STATES,
            owner=owner,
            me=name_of(request.user),
            owners=sorted(each for each in owners if each),
            rule=rule,
            rules=cases.rules,
            page_of=page,
            before=found[-1].id if state == "closed" and len(found) == _PAGE else None,
        )

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one case, and work it."""
        try:
            case = kit.cases.get(self.key_of(object_id))
            choices = {
                "cause": kit.cases.causes_of(case.id),
                "action": kit.cases.actions_of(case.id),
            }
        except LookupError:
            return self.unknown(request, self.key_of(object_id))
        what = request.POST.get("what", "")
        allowed = _allowed(case)
        bound = None
        if request.method == "POST":
            bound = WorkForm(_WORK.get(what, ()), request.POST, choices, prefix=what)
            if self._work(request, kit, case, what, bound):
                return HttpResponseRedirect(request.get_full_path())
            # What cannot be done any more says why in its own form.
            allowed = list(dict.fromkeys([*allowed, *([what] if what in _WORK else [])]))
        forms_of = [
            (
                name,
                *_LABELS[name],
                bound
                if bound is not None and name == what
                else WorkForm(_WORK[name], None, choices, prefix=name),
            )
            for name in allowed
        ]
        rules = kit.settings.cases
        declared = [rules.owner, *(each.owner for each in rules.rules)]
        return self.page(
            request,
            kit,
            "case",
            f"{case.reference} · {case.title}: {case.summary}",
            case=case,
            person=self.person(request, case.customer),
            forms=forms_of,
            owners=list(dict.fromkeys([*colleagues(), *(each for each in declared if each)])),
            me=name_of(request.user),
        )

    def _work(self, request: Any, kit: JourneyKit, case: Case, what: str, form: Any) -> bool:
        if what not in _WORK:
            form.add_error(None, gettext("Choose what to do."))
            return False
        if not form.is_valid():
            return False
        do: Callable[..., Any] = getattr(kit.cases, what)
        given = {**form.cleaned_data, "actor": name_of(request.user)}
        said = _DONE[what] % case.reference
        try:
            return self.record(request, kit, case.id, said, lambda: do(case.id, **given))
        except (LookupError, ValueError) as error:
            name, _, rest = str(error.args[0]).partition(": ")
            known = name in form.fields
            told = rest if known else str(error.args[0])
            form.add_error(name if known else None, capfirst(told))
            return False

    def _row(self, request: Any, case: Case) -> tuple[Any, ...]:
        return case, self.url("change", case.id), self.person(request, case.customer)


def _of(kit: JourneyKit, state: str, owner: str | None, rule: str | None) -> Sequence[Case]:
    whose = None if owner is None or owner == "*" else owner
    if state == "resolved":
        return kit.cases.resolved(owner=whose, rule=rule)
    return kit.cases.list(owner=whose, rule=rule, overdue=state == "overdue")


def _allowed(case: Case) -> list[str]:
    """Return what can be done about a case."""
    if case.status is CaseStatus.CLOSED:
        return ["note"]
    if not case.is_open:
        return ["reopen", "assign", "note"]
    is_waiting = case.status is CaseStatus.WAITING
    found = ["assign", *(["acknowledge"] if case.status is not CaseStatus.ACKNOWLEDGED else [])]
    return [*found, "resume" if is_waiting else "wait", "note", "resolve"]
