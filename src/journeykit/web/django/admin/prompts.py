"""Pages about prompts: which there are, and what is changed of them without a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext

from journeykit.feedback.changing import ChangesRefused
from journeykit.feedback.wording import policy_of, trigger_of
from journeykit.web.django.admin.pages import Pages
from journeykit.web.django.admin.people import name_of
from journeykit.web.django.admin.prompt_form import PromptForm

if TYPE_CHECKING:
    from journeykit.feedback.changing import Setting
    from journeykit.feedback.overrides import Change
    from journeykit.kit import JourneyKit
    from journeykit.model.prompt import Prompt

#: How many of all changes the list shows.
_CHANGES: Final = 20

RESET: Final = "reset"

#: What Django's own history calls what holds for all prompts.
ALL: Final = "feedback"


class PromptPages(Pages):
    """Prompts."""

    detail_page = "prompt"
    changes = True
    more = {"caps/": "caps"}  # noqa: RUF012 - never changed

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show every prompt as it is now."""
        changes = kit.feedback.changes()
        held = _held(changes, kit)
        return self.page(
            request,
            kit,
            "prompts",
            capfirst(self.opts.verbose_name_plural),
            rows=[self._row(prompt, held) for prompt in kit.feedback.prompts],
            changes=changes[:_CHANGES],
            ignored=dict(kit.feedback.ignored),
            caps_url=self.url("caps"),
        )

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one prompt, and change it."""
        key = self.key_of(object_id)
        try:
            prompt, settings = kit.feedback.prompt(key), kit.feedback.settings(key)
        except LookupError:
            return self.unknown(request, key)
        more = {
            "prompt": prompt,
            "trigger": trigger_of(prompt),
            "policy": policy_of(prompt),
            "history": kit.feedback.changes(key),
        }
        return self._form(request, kit, (key, settings), "prompt", key, **more)

    def caps(self, request: Any, kit: JourneyKit) -> Any:
        """Show what holds for all prompts, and change it."""
        history = [each for each in kit.feedback.changes() if each.path.startswith("feedback.")]
        title, settings = gettext("For all prompts"), kit.feedback.settings(None)
        return self._form(
            request, kit, (ALL, settings), "caps", title, history=history, prompt=None
        )

    def _form(
        self,
        request: Any,
        kit: JourneyKit,
        what: tuple[str, tuple[Setting, ...]],
        page: str,
        title: str,
        **more: Any,
    ) -> Any:
        key, settings = what
        data = request.POST if request.method == "POST" else None
        form = PromptForm(settings, data, more=_to_translate(more["prompt"]))
        if form.is_bound and form.is_valid() and self._change(request, kit, key, form):
            return HttpResponseRedirect(request.get_full_path())
        changed = [each for each in settings if each.change is not None]
        return self.page(request, kit, page, title, form=form, changed=changed, **more)

    def _change(self, request: Any, kit: JourneyKit, key: str, form: PromptForm) -> bool:
        what = gettext("Prompt %s") % key if key != ALL else gettext("What holds for all prompts")
        if request.POST.get("what") == RESET:
            held = [each for each in form.settings.values() if each.change is not None]
            changes = dict.fromkeys([each.path for each in held])
            said = gettext("%s is as declared again.") % what
        else:
            changes, said = form.changes(), gettext("%s is changed.") % what
        if not changes:
            messages.info(request, gettext("Nothing was changed."))
            return True
        given = {"actor": name_of(request.user), "reason": form.cleaned_data["reason"]}
        try:
            return self.record(
                request,
                kit,
                key,
                said,
                lambda: kit.feedback.set_all(changes, seen=form.seen(), **given),
            )
        except ChangesRefused as error:
            form.refuse(error)
            return False

    def _row(self, prompt: Prompt, held: dict[str, Change]) -> dict[str, Any]:
        area = f"prompts.{prompt.key}."
        return {
            "prompt": prompt,
            "url": self.url("change", prompt.key),
            "text": next(iter(prompt.text.by_language.values())),
            "language": next(iter(prompt.text.by_language)),
            "trigger": trigger_of(prompt),
            "policy": policy_of(prompt),
            "switched": held.get(f"{area}on"),
            "changed": any(path.startswith(area) for path in held),
        }


def _to_translate(prompt: Prompt | None) -> list[str]:
    """Return the texts that make up another language; none where more than these are asked."""
    if prompt is None or prompt.options or prompt.then or not prompt.text.languages:
        return []
    return [name for name in ("text", "low", "high", "thanks") if getattr(prompt, name)]


def _held(changes: list[Change], kit: JourneyKit) -> dict[str, Change]:
    """Return path → the change that holds."""
    found: dict[str, Change] = {}
    for change in changes:
        found.setdefault(change.path, change)
    ignored = kit.feedback.ignored
    return {
        path: change
        for path, change in found.items()
        if change.new is not None and path not in ignored
    }
