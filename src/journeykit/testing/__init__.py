"""
For the tests of plugins: contracts, a sink that records, a server that fails, a clock.

It needs the extra `testing`: `pip install 'journeykit[testing]'`.
The fixtures of `journeykit.testing.plugin` are there for those who ask for them, in the
configuration of pytest: `addopts = ["-p", "journeykit.testing.plugin"]`.
"""

from __future__ import annotations

import pytest

# Before the modules are imported, so that a contract that is broken shows the values.
pytest.register_assert_rewrite(
    "journeykit.testing.hooks", "journeykit.testing.rules", "journeykit.testing.sinks"
)

from journeykit.testing.clock import NOON, Clock  # noqa: E402 - see above
from journeykit.testing.delivering import Delivering  # noqa: E402 - see above
from journeykit.testing.events import (  # noqa: E402 - see above
    make_batch,
    make_entry,
    make_event,
    make_stored,
)
from journeykit.testing.hooks import HookContract  # noqa: E402 - see above
from journeykit.testing.outside import HttpOutside, Outside  # noqa: E402 - see above
from journeykit.testing.recording import RecordingSink  # noqa: E402 - see above
from journeykit.testing.rules import Happening, RuleContract, RuleRun  # noqa: E402 - see above
from journeykit.testing.server import Fault, FaultyServer, Received, Reply  # noqa: E402 - see above
from journeykit.testing.sinks import HttpSinkContract, SinkContract  # noqa: E402 - see above

__all__ = [
    "NOON",
    "Clock",
    "Delivering",
    "Fault",
    "FaultyServer",
    "Happening",
    "HookContract",
    "HttpOutside",
    "HttpSinkContract",
    "Outside",
    "Received",
    "RecordingSink",
    "Reply",
    "RuleContract",
    "RuleRun",
    "SinkContract",
    "make_batch",
    "make_entry",
    "make_event",
    "make_stored",
]
