from __future__ import annotations

import gzip
import socket

import httpx
import pytest

from journeykit.testing import Fault, FaultyServer, Received, Reply


@pytest.fixture
def client() -> httpx.Client:
    """Return a client that waits for nobody long; closed at the end."""
    with httpx.Client(timeout=0.3, trust_env=False) as client:
        yield client


def test_takes_what_it_is_sent(client: httpx.Client) -> None:
    """Without troubles every request is answered by 200 and kept, decompressed."""
    with FaultyServer() as server:
        body = gzip.compress(b'{"a":1}')
        answer = client.post(
            f"{server.url}/hook?x=1", content=body, headers={"Content-Encoding": "gzip"}
        )

        assert answer.status_code == 200
        (request,) = server.taken
        assert (request.method, request.path, request.json()) == ("POST", "/hook?x=1", {"a": 1})
        assert b"POST /hook?x=1" in request.text


def test_chunked_bodies_are_read(client: httpx.Client) -> None:
    """A body whose length nobody knew is put together."""
    with FaultyServer() as server:
        client.post(server.url, content=iter([b"one", b"two"]))

        assert server.taken[0].body == b"onetwo"


def test_troubles_come_one_each(client: httpx.Client) -> None:
    """What the next requests are to meet they meet, and then all is well again."""
    with FaultyServer() as server:
        server.then(503, Reply(429, b"slow", {"Retry-After": "7"}), None, lambda _: 404)
        answers = [client.get(server.url) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [503, 429, 200, 404, 200]
        assert answers[1].headers["retry-after"] == "7"
        assert len(server.requests) == 5
        assert len(server.taken) == 2


@pytest.mark.parametrize(
    ("fault", "error", "taken"),
    [
        (Fault.HANG, httpx.ReadTimeout, 0),
        (Fault.DROP, httpx.RemoteProtocolError, 0),
        (Fault.LOSE, httpx.RemoteProtocolError, 1),
        (Fault.CUT, httpx.RemoteProtocolError, 1),
    ],
)
def test_faults(client: httpx.Client, fault: Fault, error: type[Exception], taken: int) -> None:
    """Each fault is what its name says, as a client sees it."""
    with FaultyServer() as server:
        with server.doing(fault), pytest.raises(error):
            client.post(server.url, content=b"x")
        assert len(server.taken) == taken
        assert client.post(server.url).status_code == 200


@pytest.mark.parametrize("fault", [Fault.TRICKLE, Fault.ENDLESS])
def test_answers_that_do_not_end(client: httpx.Client, fault: Fault) -> None:
    """A client that reads on gets more, until it goes."""
    with (
        FaultyServer() as server,
        server.doing(fault),
        client.stream("GET", server.url) as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces)
        assert next(pieces)


def test_away_and_back_at_the_same_place(client: httpx.Client) -> None:
    """While it is away nobody answers, and open connections end; then it is where it was."""
    with FaultyServer() as server:
        client.get(server.url)
        with server.away(), pytest.raises(httpx.TransportError):
            client.get(server.url)
        assert client.get(server.url).status_code == 200
        assert server.connections == 2


def test_stands_for_a_system(client: httpx.Client) -> None:
    """The ordinary answer may be one that says something."""

    def answer(request: Received) -> Reply:
        return Reply.of_json({"path": request.path}, 201)

    with FaultyServer(answer) as server:
        assert client.get(f"{server.url}/me").json() == {"path": "/me"}
        assert len(server.taken) == 1


def test_stopping_lets_go_of_everybody() -> None:
    """A server that is stopped while a request hangs ends at once."""
    with FaultyServer() as server, server.doing(Fault.HANG):
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            server.stop()
            connection.settimeout(5)
            try:
                left = connection.recv(10)
            except ConnectionResetError:
                left = b""
            assert left == b""
