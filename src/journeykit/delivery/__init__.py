"""Brings events to where they are wanted: the relay, the sink contract, the core's sinks."""

from __future__ import annotations

from journeykit.delivery.backoff import Backoff
from journeykit.delivery.relay import Relay
from journeykit.delivery.sink import Batch, Rejection, Sink

__all__ = ["Backoff", "Batch", "Rejection", "Relay", "Sink"]
