"""The form of what can be changed of prompts: built from what there is, checked by the kit."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from journeykit.model.language import direction
from journeykit.web.django.admin.pages import REASON_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.feedback.changing import ChangesRefused, Setting

#: What the forms call the keys of the declaration, and what to know of them.
_WORDS: Final = {
    "on": (gettext_lazy("Asked"), gettext_lazy("Whether it is asked at all.")),
    "priority": (
        gettext_lazy("Priority"),
        gettext_lazy("Of several prompts the one with the highest is asked, 0 to 100."),
    ),
    "ask.sample": (
        gettext_lazy("Share of customers"),
        gettext_lazy("From 0 to 1; it is always the same ones."),
    ),
    "ask.every": (
        gettext_lazy("Again after"),
        gettext_lazy("A duration such as 30d, 24h or 90m."),
    ),
    "ask.limit": (
        gettext_lazy("Most answers"),
        gettext_lazy("Of all customers together; then it is asked no more."),
    ),
    "ask.max_shows": (
        gettext_lazy("Most shows"),
        gettext_lazy("To one customer, where it is asked until it was answered."),
    ),
    "text": (gettext_lazy("Question"), ""),
    "low": (gettext_lazy("Lowest score"), ""),
    "high": (gettext_lazy("Highest score"), ""),
    "thanks": (gettext_lazy("Thanks"), ""),
    "caps": (
        gettext_lazy("Most prompts for one customer"),
        gettext_lazy("One a line: “1 per 7d”, “1 per 90d of nps”, or “3” for ever."),
    ),
    "per_session": (
        gettext_lazy("Most prompts in one visit"),
        gettext_lazy("0 for any number."),
    ),
    "back_off": (
        gettext_lazy("Left alone after closing one"),
        gettext_lazy("A duration such as 30d; twice as long after the second time in a row."),
    ),
    "quiet": (
        gettext_lazy("Quiet after something severe"),
        gettext_lazy("A duration such as 14d, in which nobody is asked for a score."),
    ),
    "min_answers": (
        gettext_lazy("Fewest answers for a score"),
        gettext_lazy("Before a score is told; 5 at least."),
    ),
}

_WHOLE: Final = frozenset({"priority", "ask.limit", "ask.max_shows", "per_session", "min_answers"})
_TEXTS: Final = frozenset({"text", "low", "high", "thanks"})
_CAP: Final = re.compile(r"(\d{1,9})(?:\s+per\s+(\S+))?(?:\s+of\s+(\S+))?")
_TEXT_LENGTH: Final = 1000
_LANGUAGE_LENGTH: Final = 35

#: The fields of the form that are no settings.
REASON, SEEN, LANGUAGE = "reason", "seen", "new_language"
_NEW: Final = "new_"


class CapsField(forms.CharField):
    """Caps, one a line."""

    widget = forms.Textarea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """Return caps as lines; what somebody has typed stays as it is."""
        return "\n".join(map(_cap_line, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return lines as caps; none for nothing."""
        lines = [line.strip() for line in str(value or "").splitlines() if line.strip()]
        return [_cap(line) for line in lines] or None


class PromptForm(forms.Form):
    """
    All that can be changed of one prompt, or of all of them.

    A field that is left empty is as declared.

    Args:
        settings: What there is.

        more: The texts that can be added in another language.
    """

    def __init__(
        self, settings: Sequence[Setting], data: Any = None, *, more: Sequence[str] = ()
    ) -> None:
        super().__init__(data, initial={each.name: each.value for each in settings})
        self.settings = {each.name: each for each in settings}
        for each in settings:
            self.fields[each.name] = _field(each)
        if more:
            self.fields[LANGUAGE] = forms.CharField(
                label=gettext_lazy("Another language"),
                required=False,
                max_length=_LANGUAGE_LENGTH,
                help_text=gettext_lazy("A tag such as fr or pt-BR."),
            )
            for name in more:
                self.fields[f"{_NEW}{name}"] = _text(_WORDS[name][0], None)
        self.fields[REASON] = forms.CharField(
            label=gettext_lazy("Reason"),
            max_length=REASON_LENGTH,
            help_text=gettext_lazy("Why, for those who read it later."),
        )
        seen = json.dumps({each.name: each.value for each in settings}, sort_keys=True)
        self.fields[SEEN] = forms.CharField(widget=forms.HiddenInput, initial=seen, required=False)

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The rows: how it is asked, and what it says."""
        texts = [row for row in self.rows if row[1].name.partition(".")[0] in _TEXTS]
        others = [row for row in self.rows if row not in texts]
        found = [{"texts": False, "rows": others}]
        return [*found, {"texts": True, "rows": texts}] if texts else found

    @property
    def rows(self) -> list[tuple[Any, Setting]]:
        """The fields of settings, each with what it is about."""
        return [(self[name], setting) for name, setting in self.settings.items()]

    @property
    def language_fields(self) -> list[Any]:
        """The fields of another language."""
        return [self[name] for name in self.fields if name.startswith(_NEW)]

    def clean_seen(self) -> dict[str, Any]:
        """Return what somebody saw when they began to change it."""
        try:
            seen = json.loads(self.cleaned_data[SEEN])
        except (ValueError, RecursionError):
            seen = None
        if not isinstance(seen, dict):
            raise forms.ValidationError(gettext("The form is incomplete; load the page again."))
        return {name: value for name, value in seen.items() if name in self.settings}

    def clean(self) -> dict[str, Any]:
        """See that another language has its texts, and they it."""
        cleaned: dict[str, Any] = super().clean()
        new = {name: cleaned.get(name) for name in self.fields if name.startswith(_NEW)}
        for name, value in new.items():
            if any(new.values()) and not value and name not in self.errors:
                self.add_error(name, gettext("Another language needs all of these."))
        return cleaned

    def changes(self) -> dict[str, Any]:
        """Return path → new value of what somebody has changed; None for what is declared."""
        found: dict[str, Any] = {}
        for name, setting in self.settings.items():
            given = self.cleaned_data[name]
            value = None if given in ("", None) else _sent(given)
            shown = self.cleaned_data[SEEN].get(name)
            if _sent(value) == _sent(shown):
                continue
            if not (value is None and shown == setting.declared):
                found[setting.path] = None if value == _sent(setting.declared) else value
        language = self.cleaned_data.get(LANGUAGE)
        if language:
            area = next(iter(self.settings.values())).path.removesuffix(".on")
            for name, value in self.cleaned_data.items():
                if name.startswith(_NEW) and name != LANGUAGE:
                    found[f"{area}.{name.removeprefix(_NEW)}.{language}"] = value
        return found

    def seen(self) -> dict[str, Any]:
        """Return path → value of what somebody saw."""
        shown = self.cleaned_data[SEEN]
        return {each.path: shown[name] for name, each in self.settings.items() if name in shown}

    def refuse(self, refused: ChangesRefused) -> None:
        """Show at the fields what is wrong with them."""
        names = {each.path: name for name, each in self.settings.items()}
        for path, said in refused.problems.items():
            unknown = LANGUAGE if path and LANGUAGE in self.fields else None
            self.add_error(names.get(path, unknown), capfirst(said))


def _sent(value: Any) -> Any:
    """Return what comes of *value* when a browser sends it untouched: lines end differently."""
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else value


def _field(setting: Setting) -> forms.Field:
    name, _, language = setting.name.partition(".")
    label, hint = _WORDS[name if name in _TEXTS else setting.name]
    if name in _TEXTS:
        said = label if language == "*" else f"{label} ({language})"
        return _text(said, language)
    given: dict[str, Any] = {"label": label, "help_text": hint, "required": False}
    if setting.name == "on":
        return forms.BooleanField(**given)
    if setting.name in _WHOLE:
        return forms.IntegerField(**given)
    if setting.name == "ask.sample":
        return forms.FloatField(**given, widget=forms.NumberInput(attrs={"step": "any"}))
    if setting.name == "caps":
        return CapsField(**given)
    return forms.CharField(**given, max_length=_LANGUAGE_LENGTH)


def _text(label: Any, language: str | None) -> forms.Field:
    attributes: dict[str, Any] = {"rows": 2}
    if language not in (None, "*"):
        attributes |= {"lang": language, "dir": direction(str(language))}
    return forms.CharField(
        label=label,
        required=False,
        max_length=_TEXT_LENGTH,
        widget=forms.Textarea(attrs=attributes),
    )


def _cap(line: str) -> Mapping[str, Any]:
    found = _CAP.fullmatch(line)
    if found is None:
        said = gettext("“%s” is no cap; write “1 per 7d”, “1 per 90d of nps”, or “3”.")
        raise forms.ValidationError(said % line)
    most, per, group = found.groups()
    told = {"most": int(most), "per": per, "group": group}
    return {name: value for name, value in told.items() if value is not None}


def _cap_line(cap: Mapping[str, Any]) -> str:
    per = f" per {cap['per']}" if cap.get("per") else ""
    group = f" of {cap['group']}" if cap.get("group") else ""
    return f"{cap['most']}{per}{group}"
