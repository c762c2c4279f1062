"""The core's own sinks keep the contract that plugins' sinks keep."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from journeykit.delivery import Batch
from journeykit.delivery.console import ConsoleSettings, ConsoleSink
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.delivery.http import HttpSink, HttpTimeouts
from journeykit.testing import FaultyServer, HttpSinkContract, Outside, SinkContract


class Printed(Outside):
    """What stands on a terminal."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def pieces(self) -> Iterable[bytes]:
        """Return the lines."""
        return [line.encode() for line in self.stream.getvalue().splitlines()]


class Written(Outside):
    """What stands in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pieces(self) -> Iterable[bytes]:
        """Return the lines."""
        return self.path.read_bytes().splitlines() if self.path.exists() else []

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Have something that is no folder where the file's folder should be."""
        folder, aside = self.path.parent, self.path.parent.with_name("aside")
        folder.mkdir(exist_ok=True)
        folder.rename(aside)
        folder.write_text("in the way")
        yield
        folder.unlink()
        aside.rename(folder)


class TestConsoleSink(SinkContract):
    """The console sink keeps the contract."""

    @pytest.fixture
    def outside(self) -> Printed:
        """Return what is printed."""
        return Printed()

    @pytest.fixture
    def sink(self, outside: Printed) -> ConsoleSink:
        """Return a sink that prints there."""
        return ConsoleSink("dev", ConsoleSettings(json=True), outside.stream)


class TestFileSink(SinkContract):
    """The file sink keeps the contract."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Written:
        """Return a file in a folder that is not there yet."""
        return Written(tmp_path / "var" / "events.jsonl")

    @pytest.fixture
    def sink(self, outside: Written) -> Iterator[FileSink]:
        """Return a sink that writes there."""
        sink = FileSink("archive", FileSettings(outside.path))
        yield sink
        sink.close()


class Hook(HttpSink):
    """Posts each batch as a JSON array, with a token."""

    def __init__(self, url: str) -> None:
        super().__init__("hook", timeouts=HttpTimeouts(connect=2, read=0.2, whole=0.5))
        self._url = url

    def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
        """Return one request."""
        body = b"[" + b",".join(batch.lines) + b"]"
        headers = {"Authorization": "Bearer t0k3n"}
        yield client.build_request("POST", self._url, content=body, headers=headers)


class TestHttpSink(HttpSinkContract):
    """A sink on the base class for HTTP keeps the contract."""

    secrets = ("t0k3n", "s3cr3t", "pa55")

    @pytest.fixture
    def sink(self, server: FaultyServer) -> Iterator[Hook]:
        """Return a sink for the server, with secrets wherever an address may have them."""
        sink = Hook(f"{server.url}/hooks/s3cr3t?key=pa55")
        yield sink
        sink.close()
