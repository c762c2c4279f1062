from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import attrs
import pytest

from journeykit import ConfigError, JourneyKit
from journeykit.plugins import Plugins
from journeykit_salesforce.defaults import NAMES, default_mappings
from journeykit_salesforce.mapping import ObjectMapping
from journeykit_salesforce.sink import SalesforceSink

WHOLE = """
[journeykit]
store = "memory://"

[consent]
mode = "opt_out"

[sinks.crm]
type = "salesforce"
url = "https://acme.my.salesforce.com"
client_id = "key"
{more}
"""

SECRET = 'secret = { env = "SALESFORCE_SECRET" }'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return where `journeykit.toml` goes."""
    return tmp_path / "journeykit.toml"


def problems(config: Path, more: str) -> str:
    """Return what is wrong with a sink that says *more*."""
    config.write_text(WHOLE.format(more=more))
    with pytest.raises(ConfigError) as caught:
        JourneyKit.from_toml(config)
    return str(caught.value)


def test_it_is_found_by_its_entry_point() -> None:
    """The installed distribution is a plugin, with its version."""
    plugin = Plugins().named("salesforce")
    assert plugin is not None
    version = importlib.metadata.version("journeykit-salesforce")
    assert plugin.origin == f"journeykit-salesforce {version}"
    assert plugin.hooks == ("register_commands", "register_sinks")


def test_a_sink_is_declared_in_toml(config: Path) -> None:
    """A few lines of TOML are a sink."""
    config.write_text(
        WHOLE.format(
            more=f"""{SECRET}
person = "Lead"
every = "10s"

[[sinks.crm.objects]]
object = "Order__c"
key = {{ Number__c = "properties.order_id" }}
events = ["Order Completed"]
fields = {{ Total__c = {{ path = "properties.total", type = "number" }}, By__c = {{ value = 1 }} }}
"""
        )
    )
    kit = JourneyKit.from_toml(config)
    try:
        (sink,) = kit._parts.sinks
        assert isinstance(sink, SalesforceSink)
        assert sink.rest == 10.0
        objects = [each.object for each in sink._settings.mappings]
        assert objects == ["Lead", "Journey__c", "Touchpoint__c", "Case", "Order__c"]
    finally:
        kit.close()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "name either secret (client credentials) or private_key"),
        (f'{SECRET}\nprivate_key = {{ env = "SALESFORCE_SECRET" }}', "name either secret"),
        ('private_key = { env = "SALESFORCE_SECRET" }', "username is missing"),
        ('secret = "s3cret-itself"', "expected a reference such as"),
        ('secret = { env = "NOT_SET_ANYWHERE" }', "NOT_SET_ANYWHERE is not set"),
        (f'{SECRET}\nperson = "Account"', '"Contact", "Lead" or "none"'),
        (f"{SECRET}\napi_share = 0", "more than 0 and at most 1"),
        (f'{SECRET}\napi_version = "45.0"', "not older than 46.0"),
        (f'{SECRET}\ndefaults = ["orders"]', "there is no 'orders'"),
        (f"{SECRET}\ndefaults = []", "nothing would be written"),
        (f'{SECRET}\ntoken = "x"', "sinks.crm.token: is not known"),
        (f'{SECRET}\naudience = "http://login.salesforce.com"', "expected the address"),
    ],
)
def test_mistakes_stop_the_start(config: Path, more: str, says: str) -> None:
    """A mistake in the settings is named with what was expected, and no secret is repeated."""
    told = problems(config, more)
    assert says in told
    assert "s3cret-itself" not in told


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ('key = { A__c = "id" }\nevents = ["x"]', "object: is missing"),
        ('object = "1x"\nkey = { A__c = "id" }\nevents = ["x"]', "no name of an object"),
        ('object = "O__c"\nkey = {}\nevents = ["x"]', "expected one external id"),
        ('object = "O__c"\nkey = { A__c = "order" }\nevents = ["x"]', "events have no 'order'"),
        ('object = "O__c"\nkey = { A__c = "id" }', "name the events"),
        ('object = "O__c"\nkey = { A__c = "id" }\nkinds = ["x"]', "there is no kind 'x'"),
        ('object = "O__c"\nkey = { A__c = "customer.name" }\nkinds = ["fact"]', "has no 'name'"),
        ('object = "O__c"\nkey = { A__c = "id.x" }\nkinds = ["fact"]', "nothing is below"),
    ],
)
def test_mistakes_in_a_mapping_stop_the_start(config: Path, mapping: str, says: str) -> None:
    """A mapping that cannot work is told before the start."""
    told = problems(config, f"{SECRET}\n[[sinks.crm.objects]]\n{mapping}")
    assert says in told


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("{ A__c = 5 }", "write { value = 5 } for a constant"),
        ('{ "A b" = "id" }', "no name of a field"),
        ('{ A__c = { path = "id", value = 1 } }', "either path or value"),
        ('{ A__c = { path = "id", type = "money" } }', "expected one of"),
        ('{ A__c = { path = "id", length = 0 } }', "1 to 32768"),
        ('{ A__c = { path = "id", size = 3 } }', "'size' is not known"),
        ("{ A__c = { value = [1] } }", "expected a text, a number"),
        ('{ A__c = { path = "id", values = 3 } }', "expected a table"),
        ('{ "A__r.b c" = "id" }', "no name of a field"),
    ],
)
def test_mistakes_in_a_field_stop_the_start(config: Path, field: str, says: str) -> None:
    """A field that cannot be filled is told before the start, by its name."""
    mapping = f'object = "O__c"\nkey = {{ K__c = "id" }}\nevents = ["x"]\nfields = {field}'
    told = problems(config, f"{SECRET}\n[[sinks.crm.objects]]\n{mapping}")
    assert says in told


@pytest.mark.parametrize("url", ["acme.my.salesforce.com", "http://acme.my.salesforce.com"])
def test_only_secure_addresses(config: Path, url: str) -> None:
    """An address without TLS is refused, unless it is this host's."""
    config.write_text(WHOLE.format(more=SECRET).replace("https://acme.my.salesforce.com", url))
    with pytest.raises(ConfigError, match="expected the address of your My Domain"):
        JourneyKit.from_toml(config)


def test_the_documentation_shows_the_mapping_that_comes_with_it() -> None:
    """The mapping that the page writes out is the one that is in force without any."""
    page = Path(__file__).parents[3] / "docs" / "plugins" / "salesforce.md"
    if not page.exists():
        pytest.skip("the documentation is in journeykit's repository")
    text = page.read_text(encoding="utf-8").partition("Written out as a mapping")[2]
    shown = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])
    written = [
        attrs.evolve(ObjectMapping(**each), events=tuple(each["events"]))
        for each in shown["sinks"]["crm"]["objects"]
    ]
    assert [
        attrs.evolve(mapping, kinds=tuple(mapping.kinds)) for mapping in written
    ] == default_mappings(NAMES, "Contact")
