"""Names what the admin shows; makes no table."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def _shown(name: str, singular: str, *, changed: bool = False) -> Any:
    return migrations.CreateModel(
        name=name,
        fields=[("key", models.CharField(max_length=400, primary_key=True, serialize=False))],
        options={
            "verbose_name": singular,
            "verbose_name_plural": f"{singular}s",
            "abstract": False,
            "managed": False,
            "base_manager_name": "objects",
            "default_permissions": ("view", "change") if changed else ("view",),
        },
    )


class Migration(migrations.Migration):
    """The admin's names."""

    dependencies = (("journeykit", "0001_initial"),)
    operations = (
        _shown("Journey", "journey"),
        _shown("Customer", "customer"),
        _shown("PainPoint", "pain point", changed=True),
        _shown("Prompt", "prompt", changed=True),
        _shown("Answer", "answer"),
        _shown("Case", "case", changed=True),
        _shown("ParkedEvent", "parked event", changed=True),
    )
