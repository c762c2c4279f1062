from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.delivery import Batch
from journeykit.delivery.guard import Guard, Refused
from journeykit.delivery.http import HttpSink
from journeykit.exceptions import DeliveryError
from journeykit.testing import FaultyServer

VECTORS = [
    line.split()
    for line in (Path(__file__).parent.parent / "data" / "ssrf_addresses.txt")
    .read_text(encoding="utf-8")
    .splitlines()
    if line and not line.startswith("#")
]


def vectors(kind: str) -> list[str]:
    """Return the values of one kind; there are some."""
    found = [value for each, value in VECTORS if each == kind]
    assert found
    return found


@pytest.mark.parametrize("address", vectors("deny"))
def test_special_addresses_are_objected_to(address: str) -> None:
    """An address that is not of the public internet is objected to, whatever it is dressed as."""
    assert Guard().objection(address)


@pytest.mark.parametrize("address", vectors("allow"))
def test_public_addresses_are_not(address: str) -> None:
    """An address of the public internet may be connected to."""
    assert Guard().objection(address) is None


@pytest.mark.parametrize("host", vectors("deny-host"))
def test_spellings_of_this_host_are_refused(host: str) -> None:
    """A name is judged by where the resolver leads, so no spelling of this host gets through."""
    try:
        socket.getaddrinfo(host, 80)
    except OSError:
        pytest.skip("this system's resolver does not know the spelling")
    with pytest.raises(Refused, match="it leads to"):
        Guard().addresses(host, 80)


@given(st.ip_addresses(v=4))
def test_dress_changes_nothing(address: ipaddress.IPv4Address) -> None:
    """An IPv4 address written as IPv6 is judged as it would be by itself."""
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")

    assert Guard().objection(mapped) == Guard().objection(address)


@given(st.ip_addresses())
def test_what_python_calls_private_is_objected_to(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Nothing passes that the standard library holds to be no public address."""
    if not address.is_global:
        assert Guard().objection(address)


def test_allowing_is_exact() -> None:
    """What is allowed may be connected to; its neighbours may not."""
    guard = Guard(["10.1.0.0/16", "::1"])

    assert guard.objection("10.1.255.255") is None
    assert guard.objection("::ffff:10.1.0.1") is None
    assert guard.objection("::1") is None
    assert guard.objection("10.2.0.0")
    assert guard.objection("127.0.0.1")


def test_allowing_a_translator_allows_the_public_behind_it() -> None:
    """Where a network reaches IPv4 through NAT64, private addresses behind it stay refused."""
    guard = Guard(["64:ff9b::/96"])

    assert guard.objection("64:ff9b::8.8.8.8") is None
    assert guard.objection("64:ff9b::127.0.0.1")
    assert guard.objection("64:ff9b::169.254.169.254")


@pytest.mark.parametrize("wrong", [["10.1.0.0/33"], ["intranet"], "10.1.0.0/16"])
def test_networks_are_checked(wrong: object) -> None:
    """What is no list of networks is refused when the guard is made."""
    with pytest.raises((ValueError, TypeError)):
        Guard(wrong)


def test_ports_can_be_limited() -> None:
    """A guard may know the only ports that requests go to."""
    guard = Guard(["127.0.0.0/8"], ports=[443])

    assert guard.addresses("127.0.0.1", 443) == ["127.0.0.1"]
    with pytest.raises(Refused, match="port 25 is not allowed; allowed are 443"):
        guard.addresses("127.0.0.1", 25)


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name lead to *addresses*."""

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[object]:
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            (families[ipaddress.ip_address(each).version], socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_only_the_judged_addresses_of_a_name_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name that leads to public and private addresses the public ones are used."""
    resolve(monkeypatch, "10.0.0.1", "8.8.8.8", "::1")

    assert Guard().addresses("mixed.example", 443) == ["8.8.8.8"]


def test_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the addresses, what they are, and the way out."""
    resolve(monkeypatch, "10.0.0.1", "169.254.169.254")
    with pytest.raises(Refused) as refused:
        Guard().addresses("metadata.example", 80)

    assert str(refused.value) == (
        "it leads to 10.0.0.1 (private), 169.254.169.254 (link-local, where clouds keep their "
        "metadata); allow it to go there"
    )


def test_connection_goes_to_the_judged_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is resolved once: what it leads to a moment later changes nothing."""
    with FaultyServer() as server:
        port = int(server.url.rpartition(":")[2])
        resolve(monkeypatch, "127.0.0.1")
        with Guard(["127.0.0.1"]).connect("rebinding.example", port, 2.0) as connection:
            assert connection.getpeername()[0] == "127.0.0.1"


def test_an_address_that_nobody_answers_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name leads to several addresses, the next is tried."""
    with FaultyServer() as server:
        port = int(server.url.rpartition(":")[2])
        resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
        with Guard(["127.0.0.0/8"]).connect("two.example", port, 2.0) as connection:
            assert connection.getpeername()[0] == "127.0.0.1"


def test_name_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to a port where nobody listens fails with what the system says."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Guard(["127.0.0.1"]).connect("127.0.0.1", port, 2.0)


class Hook(HttpSink):
    """Posts nothing in particular, with a guard."""

    def __init__(self, url: str, guard: Guard) -> None:
        super().__init__("hook", guard=guard)
        self._url = url

    def requests(self, batch: Batch, client: httpx.Client) -> list[httpx.Request]:
        """Return one request."""
        return [client.build_request("POST", self._url, content=b"[]")]


def test_guarded_http_sink_reaches_nothing_private() -> None:
    """A guarded sink does not even connect to this host, and says so in one line."""
    with FaultyServer() as server:
        hook = Hook(server.url, Guard())
        with pytest.raises(DeliveryError) as refused:
            hook.deliver(Batch([]))
        hook.close()

        assert server.connections == 0
    assert str(refused.value) == (
        f"POST {server.url}: ConnectError: it leads to 127.0.0.1 (this host); allow it to go there"
    )
    assert refused.value.retryable


def test_guarded_http_sink_reaches_what_is_allowed() -> None:
    """A guarded sink goes where it is allowed to, over one connection, by the host's name."""
    with FaultyServer() as server:
        hook = Hook(server.url.replace("127.0.0.1", "localhost"), Guard(["127.0.0.1", "::1"]))
        hook.deliver(Batch([]))
        hook.deliver(Batch([]))
        hook.close()

        assert server.connections == 1
        assert [each.headers["host"][:10] for each in server.taken] == ["localhost:"] * 2
        server.stop()
        with pytest.raises(DeliveryError, match=r"ConnectError: \[Errno"):
            hook.deliver(Batch([]))
        hook.close()
