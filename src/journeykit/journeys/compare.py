"""What one version of a journey does otherwise than another, and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from journeykit.model.journey import Migrate, Publish

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.journeys.published import Version


@attrs.frozen(kw_only=True)
class Change:
    """
    One key path at which two versions differ.

    Args:
        what: `"added"`, `"removed"`, `"renamed"` or `"changed"`.

        path: Where; of a stage `stages.KEY`.

        old, new: The JSON values on both sides; None where there is none.
    """

    what: str
    path: str
    old: Any = None
    new: Any = None


@attrs.frozen(kw_only=True)
class Running:
    """
    Runs under way in one stage of one version, and what becomes of them.

    Args:
        fate: `"stay"` on their version, `"close"`, or `"migrate"` to the stage `to`.
    """

    version: int
    stage: str
    count: int
    fate: str
    to: str | None = None


def changes(old: Version, new: Version) -> list[Change]:
    """Return what folds differently, the stages first."""
    was, now = old.rules(), new.rules()
    stages = _stages(old), _stages(new)
    renamed = _renamed(*stages)
    found = [
        Change(what="renamed", path=f"stages.{key}", old=key, new=renamed[key]) for key in renamed
    ]
    found += [
        Change(what="removed", path=f"stages.{key}", old=rules)
        for key, rules in stages[0].items()
        if key not in stages[1] and key not in renamed
    ]
    found += [
        Change(what="added", path=f"stages.{key}", new=rules)
        for key, rules in stages[1].items()
        if key not in stages[0] and key not in renamed.values()
    ]
    was_order = [renamed.get(key, key) for key in stages[0] if key in {*stages[1], *renamed}]
    now_order = [key for key in stages[1] if key in {*stages[0], *renamed.values()}]
    if was_order != now_order:
        found.append(Change(what="changed", path="stages", old=[*stages[0]], new=[*stages[1]]))
    both = stages[0].keys() & stages[1].keys()
    for path in {**was, **now}:
        stage = path.split(".")[1] if path.startswith("stages.") else None
        if path == "stages" or (stage is not None and stage not in both):
            continue
        if was.get(path) != now.get(path):
            found.append(Change(what="changed", path=path, old=was.get(path), new=now.get(path)))
    return found


def _stages(version: Version) -> dict[str, dict[str, Any]]:
    rules = version.rules()
    return {
        stage.key: {
            name: rules[path]
            for name in ("enter", "stall")
            if (path := f"stages.{stage.key}.{name}") in rules
        }
        for stage in version.journey.stages
    }


def _renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return stages that are gone → those that have come with the very same rules."""
    found: dict[str, str] = {}
    for key, rules in old.items():
        alike = [
            other
            for other, others in new.items()
            if other not in old and others == rules and other not in found.values()
        ]
        if key not in new and alike:
            found[key] = alike[0]
    return found


def fates(version: Version, new: Version, current: Sequence[int]) -> list[Running]:
    """
    Return what the publication of *new* does to the runs of an earlier *version*.

    Args:
        current: How many are under way, by stage.
    """
    policy = new.journey.publish
    alike = version.journey.instance_by == new.journey.instance_by
    found = []
    for stage, count in zip(version.journey.stages, current, strict=True):
        to = policy.migrate.get(stage.key) if isinstance(policy, Migrate) and alike else None
        fate = "close" if policy == Publish.CLOSE else "migrate" if to else "stay"
        if count:
            found.append(
                Running(
                    version=version.journey.version,
                    stage=stage.key,
                    count=count,
                    fate=fate,
                    to=to,
                )
            )
    return found
