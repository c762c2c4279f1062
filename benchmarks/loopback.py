"""The HTTP sink that the comparison delivers to: one POST a batch, a JSON array of wire forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeykit.delivery.http import HttpSink

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from journeykit import Batch


class LoopbackSink(HttpSink):
    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self._url = url

    def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
        body = b"[" + b",".join(batch.lines) + b"]"
        headers = {"Content-Type": "application/json"}
        yield client.build_request("POST", f"{self._url}/events", content=body, headers=headers)
