"""`{% load journeykit %}`: `{% journeykit_prompts %}` and `{% journeykit_form %}`."""

from __future__ import annotations

from django import template

from journeykit.web.django.markup import journeykit_form, journeykit_prompts

register = template.Library()

register.simple_tag(journeykit_prompts)
register.simple_tag(journeykit_prompts, name="journeykit_prompt")
register.simple_tag(journeykit_form)
