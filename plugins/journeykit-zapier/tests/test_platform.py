"""
Zapier's own runtime drives our endpoints with the integration that comes with the plugin.

Its licence is not an open one, so it is no requirement of the tests: `make test-zapier` runs them,
or they run where there is node and `JOURNEYKIT_ZAPIER` names a folder in which
`npm install zapier-platform-core` was called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import journeykit_zapier
from journeykit import JourneyKit
from journeykit.testing import FaultyServer

TOML = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "opt_out"

[sinks.zapier]
type = "zapier"
key = { env = "ZAPIER_API_KEY" }
record = ["Support Ticket Closed"]
allow = ["127.0.0.1"]
hosts = ["127.0.0.1"]
"""

#: Steps as Zapier takes them; a polling trigger checks what a list of samples must be.
SCRIPT = """
const [appPath, base, key, step, given] = process.argv.slice(-5);
process.env.NODE_ENV = 'test';
const platform = require('zapier-platform-core');
const App = require(appPath);
const list = App.triggers.event.operation.performList;
App.triggers.polled = {
  key: 'polled', noun: 'Sample', display: {label: 'Samples', description: 'Lists samples.'},
  operation: {type: 'polling', perform: list, inputFields: []},
};
const tester = platform.createAppTester(App);
const told = JSON.parse(given);
const bundle = {authData: {base, api_key: key}, ...told};
const operation = App.triggers.event.operation;
const steps = {
  auth: () => tester(App.authentication.test, bundle).then(answer => answer.data ?? answer),
  subscribe: () => tester(operation.performSubscribe, bundle),
  perform: () => tester(operation.perform, bundle),
  list: () => tester(App.triggers.polled.operation.perform, bundle),
  record: () => tester(App.creates.record.operation.perform, bundle),
  unsubscribe: () => tester(operation.performUnsubscribe, bundle),
};
steps[step]().then(
  answer => console.log('ANSWER ' + JSON.stringify({answer})),
  error => console.log('ANSWER ' + JSON.stringify({error: error.name + ': ' + error.message})),
);
"""


@pytest.fixture
def node() -> Path:
    """Return the folder of Zapier's runtime."""
    folder = Path(os.environ.get("JOURNEYKIT_ZAPIER", "")) / "node_modules"
    if shutil.which("node") is None or not (folder / "zapier-platform-core").is_dir():
        pytest.skip("Zapier's runtime is not there; its licence is not open (make test-zapier)")
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[str, JourneyKit]]:
    """Return the address of a shop that serves the endpoints, and its kit."""
    flask = pytest.importorskip("flask")
    from werkzeug.serving import make_server

    from journeykit.web.flask import init_app

    (tmp_path / "journeykit.toml").write_text(TOML)
    kit = JourneyKit.from_toml(tmp_path / "journeykit.toml")
    app = flask.Flask("shop")
    app.secret_key = "k"
    init_app(app, kit)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/journeykit/zapier", kit
    server.shutdown()
    thread.join()
    server.server_close()
    kit.close()


@pytest.fixture
def step(node: Path, shop: tuple[str, JourneyKit], key: str) -> Callable[..., Any]:
    """Return a function that lets Zapier's runtime take a step, and returns what it says."""

    def step(name: str, *, key: str = key, **bundle: Any) -> Any:
        app = Path(journeykit_zapier.__file__).parent / "integration" / "index.js"
        done = subprocess.run(
            ["node", "-e", SCRIPT, str(app), shop[0], key, name, json.dumps(bundle)],
            env={**os.environ, "NODE_PATH": str(node)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
        assert lines, done.stderr
        return json.loads(lines[-1].removeprefix("ANSWER "))

    return step


def test_zapier_tests_the_key(step: Callable[..., Any]) -> None:
    """The connection is tested with the key, and a wrong one is an error of authentication."""
    assert step("auth")["answer"]["sink"] == "zapier"
    assert "the API key is wrong" in step("auth", key="wrong")["error"]


def test_zapier_runs_a_zap(
    step: Callable[..., Any], shop: tuple[str, JourneyKit], server: FaultyServer
) -> None:
    """A Zap is switched on, starts for an event, and is switched off."""
    kit = shop[1]
    about = {"inputData": {"event": "Order Completed"}}
    made = step("subscribe", targetUrl=f"{server.url}/zap", **about)["answer"]
    kit.track("Order Completed", {"revenue": 5}, customer="ada")
    assert kit.flush()
    (posted,) = [each.json() for each in server.taken]
    (started,) = step("perform", cleanedRequest=posted, **about)["answer"]
    assert started["properties"] == {"revenue": 5}
    assert [each["id"] for each in step("list", **about)["answer"]] == [posted["id"]]
    step("unsubscribe", subscribeData=made, **about)

    assert kit.store.kept("kept:") == {}


def test_zapier_records_an_event(step: Callable[..., Any], shop: tuple[str, JourneyKit]) -> None:
    """The action records an event; one that may not be recorded is told to who edits the Zap."""
    given = {"event": "Support Ticket Closed", "user_id": "ada", "properties": {"ticket": "7"}}
    assert step("record", inputData=given)["answer"]["id"]
    refused = step("record", inputData={**given, "event": "Order Completed"})
    assert "may not record" in refused["error"]
    assert shop[1].flush()

    (stored,) = shop[1].store.read(None, 10)
    assert stored.event().properties == {"ticket": "7"}
