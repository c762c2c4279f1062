"""What a kit is built from, whether declared in `journeykit.toml` or in Python."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs

from journeykit.config.secret import Secret
from journeykit.model.extension import SinkOptions, SinkType, SourceType
from journeykit.model.journey import Journey, Touchpoint, to_tuple
from journeykit.model.pain_point import Severity
from journeykit.model.prompt import DEFAULT_CAPS, Cap, Prompt
from journeykit.model.rule import PainPointRule


class ConsentMode(StrEnum):
    """Whom journeykit may record."""

    #: Everybody who has not objected.
    OPT_OUT = "opt_out"
    #: Only who has agreed.
    OPT_IN = "opt_in"


class StagesIn(StrEnum):
    """Which processes fold and deliver."""

    #: One of the app's own.
    APP = "app"
    #: Only `journeykit worker`.
    WORKER = "worker"


class WhenFull(StrEnum):
    """What becomes of events while the store has not kept up."""

    #: New ones are refused.
    DROP_NEW = "drop_new"
    #: The oldest that wait make room for new ones.
    DROP_OLD = "drop_old"
    #: `track()` waits for room, and refuses after that.
    BLOCK = "block"


class Gpc(StrEnum):
    """What the signal of Global Privacy Control, `Sec-GPC: 1`, denies."""

    #: Every purpose of sending events to a third party.
    EXPORT = "export"
    #: Every purpose: who sends the signal is not recorded.
    ALL = "all"
    #: Nothing; the shop looks at it itself.
    IGNORE = "ignore"


@attrs.frozen
class Consent:
    """
    The rule for recording people; `mode` has no default.

    Args:
        mode: `"opt_out"`: record everybody who has not objected.
            `"opt_in"`: record only who has agreed; until then no event and no cookie.

        gpc: What a browser denies that sends `Sec-GPC: 1`.
            `"export"`: that events go to third parties, which is what the signal means.
            `"all"`: being recorded, too. `"ignore"`: nothing.
    """

    mode: ConsentMode = attrs.field(converter=ConsentMode)
    gpc: Gpc = attrs.field(default=Gpc.EXPORT, converter=Gpc)


class Pattern(StrEnum):
    """What is found by its form, wherever it stands."""

    #: Numbers of payment cards.
    CARD = "card"
    #: E-mail addresses.
    EMAIL = "email"
    #: Numbers of bank accounts.
    IBAN = "iban"
    #: Keys and tokens that open something.
    TOKEN = "token"  # noqa: S105 - a kind of thing


def _to_patterns(values: Iterable[str]) -> tuple[Pattern, ...]:
    return tuple(map(Pattern, to_tuple(values)))


@attrs.frozen(kw_only=True)
class Redaction:
    """
    The table `[redaction]`: what never reaches the Log.

    Args:
        keys: Keys whose values are redacted, besides those that always are.

        patterns: What is redacted wherever it stands; `()` for none.

        keep: Keys whose values stay as they are.
    """

    keys: tuple[str, ...] = attrs.field(
        default=(),
        converter=to_tuple,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )
    patterns: tuple[Pattern, ...] = attrs.field(default=tuple(Pattern), converter=_to_patterns)
    keep: tuple[str, ...] = attrs.field(
        default=(),
        converter=to_tuple,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )


#: Each property multiplies what is looked at, and with that what it takes to raise an alarm.
_MOST_SEGMENTS = 12


def _check_segments(_: object, __: object, names: tuple[str, ...]) -> None:
    if "" in names:
        msg = "a segment is the name of a property; got an empty text"
        raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = f"each property once; got {', '.join(names)}"
        raise ValueError(msg)
    if len(names) > _MOST_SEGMENTS:
        msg = f"at most {_MOST_SEGMENTS} properties, got {len(names)}: each dulls the others"
        raise ValueError(msg)


def _check_effort(_: object, __: object, effort: dict[str, float]) -> None:
    for code, days in effort.items():
        if not 0 < days < float("inf"):
            msg = f"the effort for {code!r} is a number of days above 0, got {days!r}"
            raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Insight:
    """
    The table `[insight]`: how reports tell customers apart, and what they rank by.

    Args:
        segments: Properties of events, or keys of their context, or `"channel"`; without any, no
            step is watched for a rate that rises.

        failures: Names of events that say that something failed; if not given, those that belong to
            no stage and whose name says so (`"payment_error"`).

        effort: Code of a pain point → how many days of work it takes to better it; 1 if not given.
    """

    segments: tuple[str, ...] = attrs.field(
        default=(),
        converter=to_tuple,
        validator=[
            attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
            _check_segments,
        ],
    )
    failures: tuple[str, ...] | None = attrs.field(
        default=None, converter=attrs.converters.optional(to_tuple)
    )
    effort: dict[str, float] = attrs.field(factory=dict, validator=_check_effort)


class MissingLanguage(StrEnum):
    """What a reader gets whose language a prompt does not have."""

    #: The prompt in the default language.
    DEFAULT = "default"
    #: No prompt.
    HIDE = "hide"


@attrs.frozen(kw_only=True)
class FeedbackSettings:
    """
    The table `[feedback]`: what holds for all prompts.

    Args:
        language: The language that texts fall back to.

        missing_language: Whether somebody whose language a prompt does not have gets it in that
            language (`"default"`) or not at all (`"hide"`).

        caps: The most prompts that one customer is shown; without it one in 7 days, and one NPS
            question in 90 days. `()` for no cap.

        per_session: The most prompts in one visit; 0 for any number.

        back_off: Who has closed a prompt without an answer is left alone for so long, and twice as
            long after the second time in a row.

        quiet: So long after a severe pain point, or after a case was closed, nobody is asked for a
            score.

        quiet_severity: From which severity on a pain point begins a quiet time.

        never_pages: Paths on which nobody is asked, with `*` for any text, unless a prompt names
            the page itself.

        never_stages: Stages in which nobody is asked, unless a prompt names the stage itself.

        min_answers: How many answers it takes before a score is told (30: an NPS is uncertain by
            25 points or so even then).
    """

    language: str = "en"
    missing_language: MissingLanguage = attrs.field(
        default=MissingLanguage.DEFAULT, converter=MissingLanguage
    )
    caps: tuple[Cap, ...] = attrs.field(default=DEFAULT_CAPS, converter=to_tuple)
    per_session: int = 1
    back_off: timedelta = timedelta(days=30)
    quiet: timedelta = timedelta(days=14)
    quiet_severity: Severity = attrs.field(default=Severity.HIGH, converter=Severity)
    never_pages: tuple[str, ...] = attrs.field(
        default=("/checkout*", "/payment*"), converter=to_tuple
    )
    never_stages: tuple[str, ...] = attrs.field(default=("checkout", "payment"), converter=to_tuple)
    min_answers: int = 30


def _check_mount(_: object, __: object, value: str) -> None:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ValueError(f'mount: expected a path such as "/journeykit", got {value!r}')


@attrs.frozen(kw_only=True)
class Web:
    """
    The table `[web]`: what pages of the shop may ask.

    Args:
        mount: The path that everything of ours is served below.

        secret: What signs the tokens of impressions; without it a key is made beside the database,
            which all processes of the host share.
            Give one where several hosts serve the shop.

        ask_after: How long after a page has loaded it asks for a prompt (1 s: when the page itself
            is there).

        friction: Whether pages load the script that looks for rage clicks, dead clicks, errors
            behind a click, and forms that were left.

        events: Names of your own touchpoints that a page may track without the shop's code.
    """

    mount: str = attrs.field(default="/journeykit", validator=_check_mount)
    secret: Secret | None = None
    ask_after: timedelta = timedelta(seconds=1)
    friction: bool = False
    events: tuple[str, ...] = attrs.field(
        default=(),
        converter=to_tuple,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )


@attrs.frozen(kw_only=True)
class Core:
    """
    The table `[journeykit]`.

    Args:
        store: Where events are kept: `"sqlite:///path"` or `"memory://"`.

        app: The name that events carry as their source.

        strict: Raise at run time instead of counting; for tests.

        plugin_timeout: How long a plugin may take in one call before it is tripped (2 s: long
            enough for a lookup on a slow day, short enough to be noticed).

        stages: Where events are folded and delivered: `"app"`, in one of the app's processes, or
            `"worker"`, in `journeykit worker` only.

        buffer_bytes: How much may wait for the store in each process (64 MiB, about 100,000
            events).

        when_full: What becomes of events beyond that: `"drop_new"` refuses new ones, `"drop_old"`
            lets the oldest go, `"block"` lets `track()` wait.

        block_for: How long `track()` waits with `"block"` before it refuses (1 s: what a shopper
            puts up with).

        drafts: Let a published version of a journey change in place, while you try things out: it
            is published anew, and all figures are made again.
    """

    store: str = "sqlite:///journeykit.db"
    app: str | None = None
    strict: bool = False
    plugin_timeout: timedelta = timedelta(seconds=2)
    stages: StagesIn = attrs.field(default=StagesIn.APP, converter=StagesIn)
    buffer_bytes: int = attrs.field(default=64 * 2**20, validator=attrs.validators.ge(2**16))
    when_full: WhenFull = attrs.field(default=WhenFull.DROP_NEW, converter=WhenFull)
    block_for: timedelta = timedelta(seconds=1)
    drafts: bool = False


@attrs.frozen
class PluginSettings:
    """
    The table `[plugins]`.

    Args:
        disabled: Names of installed plugins to leave out.

        files: Python files that are plugins, relative to `journeykit.toml`.
    """

    disabled: tuple[str, ...] = attrs.field(
        default=(),
        converter=to_tuple,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )
    files: tuple[Path, ...] = attrs.field(default=(), converter=to_tuple)


@attrs.frozen
class DeclaredSink:
    """A sink of the configuration: its kind, its settings, and what every sink understands."""

    type: SinkType
    settings: Any
    options: SinkOptions = attrs.field(factory=SinkOptions)


@attrs.frozen
class DeclaredSource:
    """A source of the configuration: its kind and its settings."""

    type: SourceType
    settings: Any


@attrs.frozen(kw_only=True)
class PainPointOptions:
    """
    What every `[pain_points.NAME]` understands besides the parameters of its rule.

    Args:
        off: Do not run the rule.

        causes: What may lie behind it, in the shop's words; for those who work on it.
    """

    off: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    causes: tuple[str, ...] = attrs.field(
        default=(),
        converter=to_tuple,
        validator=attrs.validators.deep_iterable(attrs.validators.instance_of(str)),
    )


@attrs.frozen(kw_only=True)
class DeclaredPainPoint:
    """A rule of the configuration: the rule with its parameters, and what every one understands."""

    rule: PainPointRule | None = None
    options: PainPointOptions = attrs.field(factory=PainPointOptions)


@attrs.frozen(kw_only=True)
class Settings:
    """
    Everything that is declared.

    Args:
        consent: The rule for recording people.

        core: The table `[journeykit]`.

        journeys: The declared journeys.

        touchpoints: The declared points of contact.

        prompts: The declared feedback questions.

        feedback: What holds for all of them.

        names: The shop's own event name → the standard name that it means.

        sinks: Name → what `[sinks.NAME]` declares.

        sources: Name → what `[sources.NAME]` declares.

        pain_points: A rule's name, such as `cart_abandoned` → what `[pain_points.NAME]` declares.

        plugins: Which plugins to add and to leave out.

        redaction: What never reaches the Log.

        insight: How reports tell customers apart, and what they rank by.

        web: What pages of the shop may ask.

        base: The directory that relative paths start from.

        origin: What holds these settings, for messages.
    """

    consent: Consent
    core: Core = attrs.field(factory=Core)
    journeys: tuple[Journey, ...] = attrs.field(default=(), converter=to_tuple)
    touchpoints: tuple[Touchpoint, ...] = attrs.field(default=(), converter=to_tuple)
    prompts: tuple[Prompt, ...] = attrs.field(default=(), converter=to_tuple)
    feedback: FeedbackSettings = attrs.field(factory=FeedbackSettings)
    names: dict[str, str] = attrs.field(factory=dict)
    sinks: dict[str, DeclaredSink] = attrs.field(factory=dict)
    sources: dict[str, DeclaredSource] = attrs.field(factory=dict)
    pain_points: dict[str, DeclaredPainPoint] = attrs.field(factory=dict)
    plugins: PluginSettings = attrs.field(factory=PluginSettings)
    redaction: Redaction = attrs.field(factory=Redaction)
    insight: Insight = attrs.field(factory=Insight)
    web: Web = attrs.field(factory=Web)
    base: Path = attrs.field(factory=Path.cwd)
    origin: str = "configuration"
