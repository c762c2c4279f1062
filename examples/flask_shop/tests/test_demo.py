"""The demo, run as a person runs it."""

import json
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from shoppers import personas
from shoppers.personas import PERSONAS

from journeykit import JourneyKit

EXAMPLE = Path(__file__).resolve().parent.parent
DEMO = [sys.executable, str(EXAMPLE / "demo.py")]
REPORT = [sys.executable, "-m", "journeykit", "report", "--json"]


def test_every_persona_has_its_share():
    """Any number of shoppers is divided as the shares say, to within one."""
    total = sum(share for _, share in PERSONAS)
    for count in (0, 1, 7, 60, 120):
        chosen = Counter(personas(count, random.Random(1)))
        assert chosen.total() == count
        assert all(abs(chosen[p] - count * share / total) < 1 for p, share in PERSONAS)


@pytest.mark.slow
def test_the_demo_fills_every_stage(tmp_path):
    """Sixty shoppers leave figures in each of the five stages, and nobody has trouble."""
    run = subprocess.run(
        [*DEMO, "--exit", "--port", "0", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "60 customers" in run.stdout
    assert "/behind-the-counter" in run.stdout
    report = subprocess.run(
        [*REPORT, "-c", str(tmp_path / "journeykit.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    [shop] = json.loads(report.stdout)["journeys"]
    furthest = {stage["key"]: stage["furthest"] for stage in shop["stages"]}
    assert furthest == {
        "awareness": 8,
        "consideration": 30,
        "purchase": 14,
        "retention": 4,
        "advocacy": 4,
    }


@pytest.mark.slow
def test_the_demo_shows_where_it_hurts(tmp_path):
    """The report ranks what the shoppers met, each with events of the Log that prove it."""
    toml = str(tmp_path / "journeykit.toml")
    summary = printed(*DEMO, "--exit", "--port", "0", "--data", str(tmp_path))
    report = json.loads(printed(*REPORT, "-c", toml))
    text = printed(*REPORT[:-1], "-c", toml)
    with JourneyKit.from_toml(toml) as kit:
        kit.store.open()
        names = {stored.id: stored.entry.name for stored in kit.store.read(None, 100_000)}

    points = {point["code"]: point for point in report["pain_points"]}
    proof = {
        "payment.declined": {"Payment Declined"},
        "search.no_results": {"Products Searched"},
        "cart.abandoned": {"Product Added", "Cart Viewed"},
        "checkout.abandoned": {"Checkout Started"},
    }
    assert points.keys() == proof.keys()
    # Few are asked in so small a crowd, and fewer are cross.
    assert {point["code"] for point in report["held_back"]} <= {"score.low"}
    for code, events in proof.items():
        point = points[code]
        assert point["customers"] >= 5
        assert point["evidence"]
        assert {names[each] for each in point["evidence"]} <= events
        assert f"{code} in {point['stage']}, everybody" in text
        assert point["evidence"][0] in text
        assert code in summary


def printed(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


@pytest.mark.slow
def test_the_demo_takes_another_port_and_ends_cleanly(tmp_path):
    """A taken port is no obstacle, and Ctrl-C closes the shop without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = subprocess.Popen(
            [*DEMO, "--port", str(port), "--shoppers", "2", "--data", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with demo:
            assert demo.stdout is not None
            lines = iter(demo.stdout.readline, "")
            shown = [next(lines)]
            while "Ctrl-C" not in shown[-1]:
                shown.append(next(lines))
            demo.send_signal(signal.SIGINT)
            out, err = demo.communicate(timeout=30)
    assert f"Port {port} can't be used" in shown[0]
    assert "The shop is closed." in out
    assert err == ""
    assert demo.returncode == 0
