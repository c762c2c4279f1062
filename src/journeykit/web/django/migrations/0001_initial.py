"""Makes the table of events that wait for the Log."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """The outbox."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("form", models.PositiveSmallIntegerField()),
                ("record", models.BinaryField()),
            ],
            options={"verbose_name": "waiting event", "db_table": "journeykit_outbox"},
        ),
    )
