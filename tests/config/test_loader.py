from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import ConfigError, JourneyKit, Secret, hookimpl
from journeykit.config import Consent, Core, Redaction, Settings, loader
from journeykit.config.settings import ConsentMode, DeclaredSink, DeclaredSource, PluginSettings
from journeykit.delivery.console import CONSOLE, ConsoleSettings
from journeykit.delivery.file import FILE, FileSettings
from journeykit.model import Goal, Journey, Rule, Stage, Touchpoint
from journeykit.model.extension import SinkType, SourceType


class Region(StrEnum):
    EU = "eu"
    US = "us"


@attrs.frozen
class Route:
    path: str
    weight: float = 1.0


@attrs.frozen
class CrmSettings:
    """The settings of a plugin's sink, with every type that settings may have."""

    secret: Secret
    region: Region = Region.EU
    port: int = attrs.field(default=443, validator=attrs.validators.in_(range(1, 65536)))
    rate: float = 1.0
    verify: bool = True
    timeout: timedelta = timedelta(seconds=10)
    cache: Path | None = None
    fields: dict[str, str] = attrs.field(factory=dict)
    objects: list[str] = attrs.field(factory=list)
    routes: tuple[Route, ...] = ()
    owner: str | None = None


@attrs.frozen
class CrmSink:
    """A sink that takes everything."""

    name: str
    settings: CrmSettings

    def deliver(self, batch: object) -> None:
        """Take the batch."""

    def close(self) -> None:
        """Do nothing."""


CRM = SinkType("crm", CrmSettings, CrmSink)
FEED = SourceType("feed", Route, lambda name, settings: (name, settings))
SINKS = {"crm": CRM, "console": CONSOLE, "file": FILE}
SOURCES = {"feed": FEED}
TABLES = ("journeykit", "consent", "plugins", "names", "sinks", "sources")
KNOWN = (*TABLES, "journeys", "touchpoints")

CONSENT = '[consent]\nmode = "opt_out"\n'


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., tuple[Settings, list[str]]]:
    """Return a function that loads a text as `journeykit.toml`."""

    def load(text: str, consent: str = CONSENT) -> tuple[Settings, list[str]]:
        path = tmp_path / "journeykit.toml"
        path.write_text(consent + text, encoding="utf-8")
        return loader.structure(loader.parse(path), SINKS, SOURCES)

    return load


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_SECRET", "hunter2")
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)


Load = Callable[..., tuple[Settings, list[str]]]


def test_toml_and_python_declare_the_same(load: Load, tmp_path: Path) -> None:
    """A file and the same declarations in Python give equal settings."""
    settings, problems = load(
        """
        [journeykit]
        store = "memory://"
        app = "shop"
        strict = true
        plugin_timeout = "500ms"
        buffer_bytes = 100_000

        [plugins]
        disabled = ["noisy"]

        [names]
        "Basket Filled" = "Product Added"

        [[touchpoints]]
        name = "Letter Sent"
        channel = "post"
        stage = "cart"
        owner = "crm"

        [[journeys]]
        key = "shop"
        version = 1
        extends = "ecommerce"

        [[journeys]]
        key = "checkout"
        version = 2
        title = "Paying"
        owner = "payments"
        personas = ["parents"]
        instance_by = "cart_id"
        stages = [
          { key = "cart", enter = ["Product Added", { event = "Cart Viewed", where = { full = true, size = [1, 2] } }] },
          { key = "payment", enter = [{ event = "Paid", after = "Product Added" }], expected = "5m", owner = "pay", title = "Pay" },
        ]
        goal = { event = "Order Completed", value = "revenue", within = "24h" }

        [sinks.screen]
        type = "console"

        [sinks.archive]
        type = "file"
        path = "var/events.jsonl"
        keep = 3

        [sinks.crm]
        type = "crm"
        secret = { env = "CRM_SECRET" }
        region = "us"
        port = 8443
        rate = 2
        verify = false
        timeout = "1.5s"
        cache = "/var/cache/crm"
        fields = { user_id = "Id" }
        objects = ["Contact", "Lead"]
        routes = [{ path = "a" }, { path = "b", weight = 0.5 }]

        [sources.shop]
        type = "feed"
        path = "orders"
        """
    )
    assert problems == []
    declared = Settings(
        consent=Consent("opt_out"),
        core=Core(
            store="memory://",
            app="shop",
            strict=True,
            plugin_timeout=timedelta(milliseconds=500),
            buffer_bytes=100_000,
        ),
        plugins=PluginSettings(["noisy"]),
        names={"Basket Filled": "Product Added"},
        touchpoints=[Touchpoint("Letter Sent", channel="post", stage="cart", owner="crm")],
        journeys=[
            Journey(key="shop", version=1, extends="ecommerce"),
            Journey(
                key="checkout",
                version=2,
                title="Paying",
                owner="payments",
                personas=["parents"],
                instance_by="cart_id",
                stages=[
                    Stage(
                        "cart",
                        enter=[
                            "Product Added",
                            Rule("Cart Viewed", where={"full": True, "size": [1, 2]}),
                        ],
                    ),
                    Stage(
                        "payment",
                        enter=[Rule("Paid", after="Product Added")],
                        expected=timedelta(minutes=5),
                        owner="pay",
                        title="Pay",
                    ),
                ],
                goal=Goal("Order Completed", value="revenue", within=timedelta(hours=24)),
            ),
        ],
        sinks={
            "screen": DeclaredSink(CONSOLE, ConsoleSettings()),
            "archive": DeclaredSink(FILE, FileSettings(tmp_path / "var/events.jsonl", keep=3)),
            "crm": DeclaredSink(
                CRM,
                CrmSettings(
                    Secret(env="CRM_SECRET"),
                    region=Region.US,
                    port=8443,
                    rate=2.0,
                    verify=False,
                    timeout=timedelta(seconds=1.5),
                    cache=Path("/var/cache/crm"),
                    fields={"user_id": "Id"},
                    objects=["Contact", "Lead"],
                    routes=(Route("a"), Route("b", 0.5)),
                ),
            ),
        },
        sources={"shop": DeclaredSource(FEED, Route("orders"))},
        base=tmp_path,
        origin=str(tmp_path / "journeykit.toml"),
    )
    assert settings == declared


def test_the_least_file(load: Load, tmp_path: Path) -> None:
    """A file that says no more than its rule for consent is complete."""
    settings, problems = load("")
    assert problems == []
    assert settings == Settings(
        consent=Consent("opt_out"), base=tmp_path, origin=str(tmp_path / "journeykit.toml")
    )


MISTAKES = [
    # A text is no boolean, no number and no list; a number is no text.
    ('[journeykit]\nstrict = "false"', "journeykit.strict", "true or false, got 'false'"),
    ("[journeykit]\nstrict = 1", "journeykit.strict", "true or false, got 1"),
    ('[journeykit]\nbuffer_bytes = "70000"', "journeykit.buffer_bytes", "a whole number"),
    ("[journeykit]\nbuffer_bytes = 70000.0", "journeykit.buffer_bytes", "a whole number"),
    ("[journeykit]\nbuffer_bytes = true", "journeykit.buffer_bytes", "a whole number"),
    ("[journeykit]\nbuffer_bytes = 5", "journeykit", "'buffer_bytes' must be >= 65536"),
    ("[journeykit]\nstore = 7", "journeykit.store", "text, got 7"),
    ("[journeykit]\napp = 7", "journeykit.app", "text, got 7"),
    # Durations.
    ("[journeykit]\nplugin_timeout = 2", "journeykit.plugin_timeout", 'such as "90s"'),
    ('[journeykit]\nplugin_timeout = "2 years"', "journeykit.plugin_timeout", 'such as "90s"'),
    ('[journeykit]\nplugin_timeout = "0s"', "journeykit.plugin_timeout", 'such as "90s"'),
    # Keys.
    ("[journeykit]\nstroe = 7", "journeykit.stroe", "is not known; the keys here are store, app"),
    ("[payments]", "payments", "is not known; the tables are journeykit, consent"),
    ("journeykit = 7", "journeykit", "expected a table, got 7"),
    ("names = []", "names", "expected a table, got []"),
    ("[names]\nA = 7", "names.A", "text, got 7"),
    ('[plugins]\ndisabled = "noisy"', "plugins.disabled", "expected a list, got 'noisy'"),
    ("[plugins]\ndisabled = [7]", "plugins.disabled[0]", "text, got 7"),
    ("[plugins]\ndisabled = [[]]", "plugins.disabled[0]", "text, got []"),
    # Journeys.
    ('[journeys]\nkey = "shop"', "journeys", "write [[journeys]], not [journeys]"),
    ("journeys = [7]", "journeys[0]", "expected a table, got 7"),
    ('[[journeys]]\nkey = "shop"', "journeys[0].version", "is missing; expected a whole number"),
    ("[[journeys]]\nversion = 1", "journeys[0].key", "is missing; expected text"),
    ('[[journeys]]\nkey = "Shop"\nversion = 1', "journeys[0]", "as in 'checkout'"),
    ('[[journeys]]\nkey = "a"\nversion = 0', "journeys[0]", "the first version is 1"),
    (
        '[[journeys]]\nkey = "a"\nversion = 1\nstages = [{ key = "b", enter = ["A", 7] }]',
        "journeys[0].stages[0].enter[1]",
        "an event name or a table with event, where and after, got 7",
    ),
    (
        '[[journeys]]\nkey = "a"\nversion = 1\nstages = [{ key = "b", enter = "A" }]',
        "journeys[0].stages[0].enter",
        "expected a list, got 'A'",
    ),
    (
        '[[journeys]]\nkey = "a"\nversion = 1\nstages = [{ key = "b" }, { key = "c", expected = 5 }]',
        "journeys[0].stages[1].expected",
        "expected a duration",
    ),
    (
        '[[journeys]]\nkey = "a"\nversion = 1\nstages = [{ key = "b", enter = [{ event = "A", wehre = 1 }] }]',
        "journeys[0].stages[0].enter[0].wehre",
        "the keys here are event, where, after",
    ),
    (
        '[[journeys]]\nkey = "a"\nversion = 1\ngoal = { event = " A" }',
        "journeys[0].goal",
        "white space around it",
    ),
    ("[[touchpoints]]", "touchpoints[0].name", "is missing; expected text"),
    # Sinks and sources, and the settings of a plugin's own sink.
    ("sinks.crm = 7", "sinks.crm", "expected a table, got 7; write [sinks.crm]"),
    ("[sinks.crm]", "sinks.crm.type", 'is missing; expected one of "console", "crm", "file"'),
    ('[sinks.a]\ntype = "fax"', "sinks.a.type", "is 'fax', which no plugin provides"),
    (
        '[sinks.f]\ntype = "file"\npath = "x"\nordering = "loose"',
        "sinks.f.ordering",
        "expected one of",
    ),
    (
        '[sinks.f]\ntype = "file"\npath = "x"\nordring = "strict"',
        "sinks.f.ordring",
        "is not known; the keys here are path, rotate_bytes, keep, ordering, purpose, third_party",
    ),
    (
        '[sinks.f]\ntype = "file"\npath = "x"\npurpose = "Marketing"',
        "sinks.f",
        "purpose: expected a name such as \"marketing\", got 'Marketing'",
    ),
    (
        '[sinks.f]\ntype = "file"\npath = "x"\nthird_party = "no"',
        "sinks.f.third_party",
        "expected true or false, got 'no'",
    ),
    ('[redaction]\nkeys = "a"', "redaction.keys", "expected a list, got 'a'"),
    ("[redaction]\npatterns = true", "redaction.patterns", "expected a list, got True"),
    (
        '[redaction]\npatterns = ["emial"]',
        "redaction.patterns[0]",
        'expected one of "card", "email", "iban", "token", got \'emial\'',
    ),
    ("[redaction]\nkeep = [7]", "redaction.keep[0]", "expected text, got 7"),
    ("[sinks.a]\ntype = []", "sinks.a.type", "is [], which no plugin provides"),
    ('[sources.a]\ntype = "fax"', "sources.a.type", 'expected one of "feed"'),
    ('[sources.a]\ntype = "feed"\npath = 1', "sources.a.path", "expected text, got 1"),
    ('[sinks.f]\ntype = "file"\npath = ""', "sinks.f.path", "expected a path, got ''"),
    ('[sinks.a]\ntype = "crm"', "sinks.a.secret", "is missing; expected a reference"),
]
CRM_MISTAKES = [
    ('region = "mars"', "region", 'expected one of "eu", "us", got \'mars\''),
    ("region = [1]", "region", 'expected one of "eu", "us", got [1]'),
    ("port = 70000", "", "'port' must be in range(1, 65536) (got 70000)"),
    ('port = "443"', "port", "a whole number, got '443'"),
    ('rate = "fast"', "rate", "expected a number, got 'fast'"),
    ("rate = true", "rate", "expected a number, got True"),
    ('verify = "false"', "verify", "true or false"),
    ("cache = 7", "cache", "expected a path, got 7"),
    ("owner = 7", "owner", "expected text, got 7"),
    ("fields = []", "fields", "expected a table, got []"),
    ("fields = { a = 1 }", "fields.a", "expected text, got 1"),
    ("objects = [1]", "objects[0]", "expected text, got 1"),
    ('objects = "Contact"', "objects", "expected a list, got 'Contact'"),
    ('routes = [{ path = "a" }, { weight = 1 }]', "routes[1].path", "is missing"),
    ('routes = [{ path = "a", weight = "1" }]', "routes[0].weight", "expected a number"),
    ("routes = [[]]", "routes[0]", "expected a table, got []"),
    ("colour = 1", "colour", "is not known; the keys here are secret, region"),
]
MISTAKES += [
    (
        f'[sinks.a]\ntype = "crm"\nsecret = {{ env = "CRM_SECRET" }}\n{line}',
        f"sinks.a.{key}".rstrip("."),
        what,
    )
    for line, key, what in CRM_MISTAKES
]


@pytest.mark.parametrize(("text", "where", "what"), MISTAKES)
def test_a_mistake_is_named(load: Load, text: str, where: str, what: str) -> None:
    """A mistake gives one line: the key path, and what was expected there."""
    consent = "" if text.startswith("[") else text + "\n"
    body = text if text.startswith("[") else ""
    _, problems = load(body, consent=consent + CONSENT)
    assert len(problems) == 1, problems
    assert problems[0].startswith((f"{where}: ", f"{where}."))
    assert what in problems[0]


def test_all_mistakes_are_named_at_once(load: Load) -> None:
    """Every mistake of a file is told in one go, also those inside one table or list."""
    _, problems = load(
        """
        [journeykit]
        strict = "false"
        buffer_bytes = "7"
        stroe = "memory://"
        [[journeys]]
        key = "shop"
        stages = [{ key = "a", expected = 5, enter = [1, 2] }, { kye = "b" }]
        [sinks.a]
        type = "crm"
        port = "1"
        [sinks.b]
        type = "fax"
        [banana]
        """,
        consent="",
    )
    places = sorted(problem.split(": ")[0] for problem in problems)
    assert places == sorted(
        [
            "banana",
            "consent.mode",
            "journeykit.buffer_bytes",
            "journeykit.strict",
            "journeykit.stroe",
            "journeys[0].stages[0].enter[0]",
            "journeys[0].stages[0].enter[1]",
            "journeys[0].stages[0].expected",
            "journeys[0].stages[1].key",
            "journeys[0].stages[1].kye",
            "journeys[0].version",
            "sinks.a.port",
            "sinks.a.secret",
            "sinks.b.type",
        ]
    )


def test_mistakes_come_in_the_same_order(load: Load) -> None:
    """Tables that nobody reads are told in alphabetical order, not in an accidental one."""
    tables = [f"unknown_{letter}" for letter in "fbdaec"]
    _, problems = load("".join(f"[{table}]\n" for table in tables))
    assert [problem.split(":")[0] for problem in problems] == sorted(tables)


@pytest.mark.parametrize(
    "consent",
    ["", "[consent]\n", "consent = 7\n", '[consent]\nmode = "yes"\n', "[consent]\nmode = []\n"],
)
def test_consent_is_explained(load: Load, consent: str) -> None:
    """Without a rule for consent the start fails, and the message says what each rule means."""
    settings, problems = load("", consent=consent)
    told = problems[-1]
    assert told.startswith("consent.mode: ")
    assert '"opt_out" (record everybody who has not objected)' in told
    assert '"opt_in" (record only who has agreed)' in told
    assert settings.consent.mode is ConsentMode.OPT_IN


def test_consent_has_no_other_keys(load: Load) -> None:
    """A key beside `mode` is a mistake, with a right mode and with a wrong one."""
    assert load("", '[consent]\nmode = "opt_in"\ndefault = true\n')[1][0].startswith(
        "consent.default: is not known"
    )
    assert len(load("", '[consent]\nmode = "maybe"\ndefault = true\n')[1]) == 2


def test_a_secret_must_be_set(load: Load) -> None:
    """A secret whose variable is not set stops the start and names the variable."""
    _, problems = load('[sinks.a]\ntype = "crm"\nsecret = { env = "NO_SUCH_SECRET" }')
    assert problems == [
        "sinks.a.secret: environment variable NO_SUCH_SECRET is not set; set it before the start"
    ]


def test_a_secret_file_must_be_readable(load: Load) -> None:
    """A secret whose file is not there stops the start and names the file."""
    _, problems = load('[sinks.a]\ntype = "crm"\nsecret = { file = "no-such-file" }')
    assert len(problems) == 1
    assert "no-such-file cannot be read" in problems[0]


def test_a_secret_file_lies_beside_the_configuration(load: Load, tmp_path: Path) -> None:
    """A relative path of a secret is relative to `journeykit.toml`, like every other path."""
    (tmp_path / "crm.key").write_text("hunter2\n", encoding="utf-8")
    settings, problems = load('[sinks.a]\ntype = "crm"\nsecret = { file = "crm.key" }')
    assert problems == []
    assert settings.sinks["a"].settings.secret.reveal() == "hunter2"


@pytest.mark.parametrize("secret", ['"hunter2"', '{ value = "hunter2" }', '["hunter2"]', "{}"])
def test_a_secret_itself_is_refused_and_not_repeated(load: Load, secret: str) -> None:
    """A secret written into the file is a mistake, and the message does not give it away."""
    _, problems = load(f'[sinks.a]\ntype = "crm"\nsecret = {secret}')
    assert problems
    assert all(problem.startswith("sinks.a.secret") for problem in problems)
    assert "hunter2" not in str(problems)


def test_paths_are_relative_to_the_file(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths start at the file, whatever the working directory; `~` is the home."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings, problems = load(
        '[sinks.a]\ntype = "file"\npath = "a.jsonl"\n[sinks.b]\ntype = "file"\npath = "~/b.jsonl"'
    )
    assert problems == []
    assert settings.sinks["a"].settings.path == tmp_path / "a.jsonl"
    assert settings.sinks["b"].settings.path == tmp_path / "home" / "b.jsonl"


def test_every_sink_may_be_strict(load: Load) -> None:
    """The ordering is read for a sink of any type, and is no key of its type."""
    settings, problems = load(
        '[sinks.a]\ntype = "console"\nordering = "strict"\n[sinks.b]\ntype = "console"'
    )
    assert problems == []
    assert [sink.options.ordering for sink in settings.sinks.values()] == ["strict", "gaps"]


def test_every_sink_may_ask_for_a_purpose(load: Load) -> None:
    """Purpose and third party are read for a sink of any type."""
    settings, problems = load(
        '[sinks.a]\ntype = "console"\npurpose = "marketing"\nthird_party = true\n'
        '[sinks.b]\ntype = "console"'
    )
    assert problems == []
    found = [(sink.options.purpose, sink.options.third_party) for sink in settings.sinks.values()]
    assert found == [("marketing", True), (None, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("card", "email", "iban", "token")),
        ("patterns = false", ()),
        ("patterns = []", ()),
        ('patterns = ["iban"]', ("iban",)),
    ],
)
def test_patterns_are_chosen(load: Load, text: str, expected: tuple[str, ...]) -> None:
    """All patterns are looked for unless the shop chooses; false is short for none."""
    settings, problems = load(f"[redaction]\n{text}\nkeys = ['a']\nkeep = ['b']")
    assert problems == []
    assert settings.redaction == Redaction(keys=("a",), patterns=expected, keep=("b",))


@pytest.mark.parametrize(("text", "gpc"), [("", "export"), ('gpc = "all"', "all")])
def test_what_the_browsers_signal_denies_is_chosen(load: Load, text: str, gpc: str) -> None:
    """Global Privacy Control denies export unless the shop says otherwise."""
    settings, problems = load("", consent=f'[consent]\nmode = "opt_out"\n{text}\n')
    assert problems == []
    assert settings.consent.gpc == gpc


def test_without_sink_types_none_is_expected(tmp_path: Path) -> None:
    """Where no plugin provides a kind, the message says that there is none."""
    document = loader.Document({"sinks": {"a": {"type": "b"}}}, tmp_path / "x.toml")
    _, problems = loader.structure(document, {}, {})
    assert any(problem.endswith("expected one of none") for problem in problems)


# Files that cannot be read.


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named, with what to do."""
    with pytest.raises(ConfigError, match="there is no such file") as caught:
        loader.parse(tmp_path / "none.toml")
    assert caught.value.source == str(tmp_path / "none.toml")


def test_a_directory(tmp_path: Path) -> None:
    """A directory is no configuration."""
    with pytest.raises(ConfigError, match="cannot be read"):
        loader.parse(tmp_path)


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    """A mistake of syntax is told with its line."""
    path = tmp_path / "journeykit.toml"
    path.write_text("[consent]\nmode = opt_out\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 2"):
        loader.parse(path)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    """A file in another encoding is told with the byte."""
    path = tmp_path / "journeykit.toml"
    path.write_bytes('title = "Käse"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8: byte 10 is 0xe4"):
        loader.parse(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    """A file that this user may not read is told as that."""
    path = tmp_path / "journeykit.toml"
    path.write_text(CONSENT, encoding="utf-8")
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        loader.parse(path)


# The whole way, through the kit.


class CrmPlugin:
    name = "crm-plugin"

    @hookimpl
    def register_sinks(self) -> list[SinkType]:
        """Return the kind that the tests above use."""
        return [CRM]


def test_the_kit_names_every_mistake(tmp_path: Path) -> None:
    """`from_toml` tells mistakes of syntax, of declarations and of the store together."""
    path = tmp_path / "journeykit.toml"
    path.write_text(
        """
        [journeykit]
        store = "carrier-pigeon://"
        strict = "yes"
        [[journeys]]
        key = "shop"
        version = 1
        stages = [{ key = "a", enter = ["share"] }]
        [sinks.a]
        type = "crm"
        secret = { env = "NO_SUCH_SECRET" }
        """,
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        JourneyKit.from_toml(path, plugins=[CrmPlugin()])
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    for part in ("journeykit.strict", "consent.mode", "'share' may mean", "NO_SUCH_SECRET"):
        assert part in told


@pytest.mark.parametrize("key", ["disabled", "files"])
def test_the_kit_reads_odd_plugin_lists(tmp_path: Path, key: str) -> None:
    """Lists that are needed before the plugins are loaded may be wrong, and are told as that."""
    path = tmp_path / "journeykit.toml"
    path.write_text(f"{CONSENT}[plugins]\n{key} = [[], 7]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        JourneyKit.from_toml(path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"plugins.{key}[0]",
        f"plugins.{key}[1]",
    ]


def test_files_are_plugins(tmp_path: Path) -> None:
    """A file that the configuration names as a plugin is loaded from beside it."""
    (tmp_path / "mine.py").write_text(
        "from journeykit import Journey, Stage, hookimpl\n"
        "@hookimpl\n"
        "def register_journeys():\n"
        "    return [Journey(key='mine', version=1, stages=[Stage('a', enter=['A'])])]\n",
        encoding="utf-8",
    )
    path = tmp_path / "journeykit.toml"
    path.write_text(
        f'{CONSENT}[journeykit]\nstore = "memory://"\n[plugins]\nfiles = ["mine.py"]\n',
        encoding="utf-8",
    )
    with JourneyKit.from_toml(path) as kit:
        assert next(iter(kit.plugins)).name == "mine"
        assert kit.customers("mine") == []


class FeedPlugin:
    name = "feed-plugin"

    @hookimpl
    def register_sources(self) -> list[SourceType]:
        """Return the kind that the tests above use."""
        return [FEED]


def _toml(value: Any) -> str:
    """Write *value* as an inline TOML value."""
    if isinstance(value, dict):
        items = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {items} }}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)


texts = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=8)
words = st.sampled_from(["memory://", "opt_in", "crm", "file", "Product Added", "shop", "5m", "eu"])
values = st.recursive(
    st.booleans() | st.integers(-5, 10**6) | st.floats(-10, 10, width=16) | words | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "version", "stages", "enter", "event", "type", "path", "env"])
            | texts.filter(bool),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
places = st.sampled_from(
    [
        *((table,) for table in KNOWN),
        ("consent", "mode"),
        *(("journeykit", field.name) for field in attrs.fields(Core)),
        ("plugins", "disabled"),
        ("names", "A"),
        ("sinks", "a"),
        ("sources", "a"),
        ("journeys", 0),
        *(("journeys", 0, field.name) for field in attrs.fields(Journey)),
        *(("journeys", 0, "stages", 0, field.name) for field in attrs.fields(Stage)),
        *(("journeys", 0, "stages", 0, "enter", 0, field.name) for field in attrs.fields(Rule)),
        *(("journeys", 0, "goal", field.name) for field in attrs.fields(Goal)),
        *(("touchpoints", 0, field.name) for field in attrs.fields(Touchpoint)),
        ("sinks", "a", "type"),
        *(("sinks", "a", field.name) for field in attrs.fields(CrmSettings)),
        ("sinks", "a", "secret", "env"),
        ("sinks", "a", "secret", "file"),
        ("sinks", "a", "routes", 0, "weight"),
        ("sources", "a", "path"),
    ]
)


def _whole() -> dict[str, Any]:
    """Return a document without mistakes."""
    return {
        "journeykit": {"store": "memory://"},
        "consent": {"mode": "opt_out"},
        "plugins": {},
        "names": {},
        "journeys": [
            {
                "key": "shop",
                "version": 1,
                "stages": [{"key": "cart", "enter": [{"event": "Product Added"}]}],
                "goal": {"event": "Order Completed"},
            }
        ],
        "touchpoints": [{"name": "Letter Sent"}],
        "sinks": {"a": {"type": "crm", "secret": {"env": "CRM_SECRET"}, "routes": [{"path": "a"}]}},
        "sources": {"a": {"type": "feed", "path": "a"}},
    }


def _put(document: Any, place: tuple[str | int, ...], value: Any) -> None:
    for step in place[:-1]:
        document = document[step]
    document[place[-1]] = value


def test_the_whole_document_is_right(tmp_path: Path) -> None:
    """The document that the property below spoils has no mistakes of its own."""
    document = loader.Document(_whole(), tmp_path / "x.toml")
    assert loader.structure(document, SINKS, SOURCES)[1] == []


@given(place=places, value=values)
def test_any_value_anywhere_is_settings_or_problems(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str | int, ...], value: Any
) -> None:
    """Whatever stands at a key, loading succeeds or names key paths; it raises nothing else."""
    document = _whole()
    _put(document, place, value)
    path = tmp_path_factory.getbasetemp() / "spoiled.toml"
    path.write_text(
        "".join(f"{name} = {_toml(table)}\n" for name, table in document.items()), encoding="utf-8"
    )
    parsed = loader.parse(path)
    assert parsed.raw == document
    settings, problems = loader.structure(parsed, SINKS, SOURCES)
    assert isinstance(settings, Settings)
    for problem in problems:
        assert problem.startswith(tuple(f"{name}{mark}" for name in KNOWN for mark in ":.[")), (
            problem
        )
        assert len(problem.split(": ", 1)[1]) > 3
    try:
        kit = JourneyKit.from_toml(path, plugins=[CrmPlugin(), FeedPlugin()])
    except ConfigError as error:
        told = error.problems
    else:
        told = ()
        kit.close()
    assert set(problems) <= set(told)
