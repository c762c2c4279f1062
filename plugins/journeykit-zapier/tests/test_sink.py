from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import trustme

from journeykit import Secret
from journeykit.delivery.answers import told
from journeykit.store.kept import Kept
from journeykit.testing import Delivering, Fault, FaultyServer, Received, Reply, make_entry
from journeykit_zapier.settings import CatchHook, ZapierSettings
from journeykit_zapier.sink import ZapierSink
from journeykit_zapier.subscriptions import Subscriptions

MakeSink = Callable[..., Any]
Subscribe = Callable[..., Any]


def order(number: int = 0, **more: Any) -> Any:
    """Return an order of a customer of its own."""
    return make_entry("Order Completed", {"number": number}, user_id=f"c{number}", **more)


def got(server: FaultyServer, path: str) -> list[str]:
    """Return the ids of the events that a hook has taken, in order."""
    return [each.json()["id"] for each in server.taken if each.path == path]


def at(path: str, answer: Any) -> Callable[[Received], Any]:
    """Return the trouble that one hook has."""
    return lambda request: answer if request.path == path else None


def test_an_event_is_posted_as_it_is(make_sink: MakeSink, server: FaultyServer) -> None:
    """A hook gets one object for each event: its wire form, with its id."""
    entry = order(7)
    Delivering(make_sink("/a")).add(entry).run()

    (request,) = server.taken
    body = request.json()
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert body["id"] == entry.id
    assert body["properties"] == {"number": 7}
    assert body["recorded_at"].endswith("Z")


def test_hooks_get_what_they_want(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """Catch hooks get what their patterns match, subscriptions their one event, others nothing."""
    bench = Delivering(make_sink("/a", events=("stage.*",)))
    subscribe(bench.store, "/b", "Order Completed")
    subscribe(bench.store, "/c", "stage.*")
    stage, bought, viewed = make_entry("stage.entered"), order(), make_entry("Product Viewed")
    bench.add(stage, bought, viewed).run()

    assert got(server, "/a") == [stage.id]
    assert got(server, "/b") == [bought.id]
    assert got(server, "/c") == []
    assert bench.done
    assert bench.parked == {}


def test_without_hooks_nothing_waits(make_sink: MakeSink, server: FaultyServer) -> None:
    """Where no Zap is on, events are done with."""
    bench = Delivering(make_sink()).add(order()).run()

    assert bench.done
    assert server.requests == []


def test_subscriptions_survive_a_restart(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """A new process with the same store posts to the hooks that were subscribed before."""
    bench = Delivering(make_sink())
    subscribe(bench.store, "/b", "Order Completed")
    again = make_sink()
    again.keep_in(Kept(bench.store, "sink:zapier"))
    bench.sink = bench.relay.sink = again
    bench.add(order()).run()

    assert len(got(server, "/b")) == 1


def test_changes_are_seen_at_once(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """What another process subscribes or unsubscribes counts for the next batch."""
    bench = Delivering(make_sink())
    made = subscribe(bench.store, "/b", "Order Completed")
    bench.add(order(1)).run()
    subscribe(bench.store, "/c", "Order Completed")
    Subscriptions(Kept(bench.store, "sink:zapier")).remove(made.id)
    bench.add(order(2)).run()

    assert (len(got(server, "/b")), len(got(server, "/c"))) == (1, 1)


def test_a_subscription_gets_nothing_from_before(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """A Zap that is switched on does not start for what was recorded before."""
    bench = Delivering(make_sink())
    subscribe(bench.store, "/b", "Order Completed", since="2999-01-01T00:00:00.000000Z")
    subscribe(bench.store, "/c", "Order Completed", since="2001-01-01T00:00:00.000000Z")
    bench.add(order()).run()

    assert (len(got(server, "/b")), len(got(server, "/c"))) == (0, 1)


def test_gone_is_unsubscribed(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """A 410 removes the subscription for good, and holds up nobody."""
    bench = Delivering(make_sink())
    subscribe(bench.store, "/b", "Order Completed")
    subscribe(bench.store, "/c", "Order Completed")
    with server.doing(at("/b", 410)):
        bench.add(order(1), order(2)).run()
    bench.add(order(3)).run()

    assert bench.waits == []
    assert bench.parked == {}
    assert [each.url for each in Subscriptions(Kept(bench.store, "sink:zapier")).all()] == [
        f"{server.url}/c"
    ]
    assert len(got(server, "/c")) == 3
    assert len([each for each in server.requests if each.path == "/b"]) == 1


def test_a_catch_hook_that_is_gone_waits_for_the_shop(
    make_sink: MakeSink, server: FaultyServer
) -> None:
    """A catch hook stands in the configuration: a 410 is told, and parks nothing."""
    with server.doing(410):
        bench = Delivering(make_sink("/a")).add(order()).run(most_waits=3)

    assert bench.parked == {}
    assert "HTTP 410; what was there has been taken away" in bench.errors[0]
    assert "/a" not in bench.errors[0]


def test_a_hook_that_fails_gets_what_it_lacks_and_others_get_nothing_twice(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """While one hook fails the other goes on; then the first catches up, in order."""
    bench = Delivering(make_sink(now=lambda: bench._time))
    subscribe(bench.store, "/b", "Order Completed")
    subscribe(bench.store, "/c", "Order Completed")
    entries = [order(number) for number in range(5)]
    ids = [entry.id for entry in entries]
    with server.doing(at("/b", 500)):
        bench.add(*entries).run(most_waits=3)
        assert sorted(got(server, "/c")) == sorted(ids)
    bench.run()

    assert bench.parked == {}
    assert sorted(got(server, "/b")) == sorted(ids)
    assert sorted(got(server, "/c")) == sorted(ids)


def test_a_hook_that_is_away_for_long_holds_up_nobody(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """After `patience` a hook's events are parked, and others go on without a pause."""
    sink = make_sink(now=lambda: bench._time, patience=timedelta(minutes=10))
    bench = Delivering(sink)
    away = subscribe(bench.store, "/b", "Order Completed")
    subscribe(bench.store, "/c", "Order Refunded")
    with server.doing(at("/b", Fault.DROP)):
        bench.add(order(), make_entry("Order Refunded")).run()
        assert bench._time >= 600
        (reason,) = bench.parked.values()
        assert "parked, so that other Zaps go on" in reason
        before = len(bench.waits)
        bench.add(*(order(number) for number in range(9)), make_entry("Order Refunded")).run()
        assert max(bench.waits[before:], default=0.0) <= 1.0
    assert len(got(server, "/c")) == 2
    assert len(bench.parked) == 10

    bench._time += 3600
    bench.store.replay()
    bench.run()
    assert bench.parked == {}
    assert len(got(server, "/b")) == 10
    assert len(got(server, "/c")) == 2
    assert away.url not in reason


def test_an_outage_of_all_parks_nothing(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """Where Zapier itself is away everything waits, however long it lasts."""
    sink = make_sink(now=lambda: bench._time, patience=timedelta(seconds=5))
    bench = Delivering(sink)
    subscribe(bench.store, "/b", "Order Completed")
    subscribe(bench.store, "/c", "Order Completed")
    with server.away():
        bench.add(order(1), order(2)).run(most_waits=20)
    bench.run()

    assert bench.parked == {}
    assert (len(got(server, "/b")), len(got(server, "/c"))) == (2, 2)


def test_a_hook_that_throttles_is_left_alone(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """A hook that answers 429 is not asked before its time, while others are."""
    bench = Delivering(make_sink(now=lambda: bench._time))
    subscribe(bench.store, "/b", "Order Completed")
    subscribe(bench.store, "/c", "Order Completed")
    throttled = Reply(429, b"", {"Retry-After": "200"})
    with server.doing(at("/b", throttled)):
        bench.add(order(1)).run(most_waits=4)
        asked = len([each for each in server.requests if each.path == "/b"])
        assert bench._time < 200
        assert asked == 1
    bench.run()

    assert len(got(server, "/b")) == 1


def test_an_event_that_is_too_large_is_parked_alone(
    make_sink: MakeSink, server: FaultyServer
) -> None:
    """413 is for good; the others go on."""
    big, small = order(1), order(2)
    with server.doing(lambda request: 413 if big.id in request.body.decode() else None):
        bench = Delivering(make_sink("/a")).add(big, small).run()

    assert list(bench.parked) == [big.id]
    assert got(server, "/a") == [small.id]


def test_one_event_in_200_that_is_refused_is_parked_alone(
    make_sink: MakeSink, server: FaultyServer
) -> None:
    """Of 200 events the one that is never taken is parked, with what to do about it."""
    entries = [order(number) for number in range(200)]
    bad = entries[77]
    bench = Delivering(make_sink("/a")).add(*entries)
    with server.doing(lambda request: 400 if bad.id in request.body.decode() else None):
        for number in range(200, 230):
            bench.run()
            bench.add(order(number))
        bench.run()

    assert list(bench.parked) == [bad.id]
    assert bench.parked[bad.id].endswith(f"(hooks[0]): {told(400)}")
    assert len({*got(server, "/a")} & {entry.id for entry in entries}) == 199


@pytest.mark.parametrize("late", [Reply(200, delay=0.6), Reply(410, delay=0.6)], ids=str)
def test_an_answer_that_comes_too_late_is_nobodys(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer, late: Reply
) -> None:
    """A reply after the timeout is not the next one's, and unsubscribes nobody."""
    bench = Delivering(make_sink(timeout=timedelta(seconds=0.2)))
    subscribe(bench.store, "/b", "Order Completed")
    entries = [order(number) for number in range(3)]
    server.then(late)
    bench.add(*entries).run()

    assert bench.parked == {}
    assert "it takes too long" in bench.errors[0]
    assert {*got(server, "/b")} == {entry.id for entry in entries}
    assert len(Subscriptions(Kept(bench.store, "sink:zapier")).all()) == 1


@pytest.mark.parametrize("answer", [b"<html>maintenance</html>", b'{"status": "succ'])
def test_only_the_status_of_an_answer_counts(
    make_sink: MakeSink, server: FaultyServer, answer: bytes
) -> None:
    """HTML or half a JSON is an outage with an error's status, and none with that of a success."""
    entry = order()
    server.then(Reply(502, answer, {"Content-Type": "text/html"}), Reply(200, answer))
    bench = Delivering(make_sink("/a")).add(entry).run()

    assert bench.errors[0].endswith(told(502))
    assert got(server, "/a") == [entry.id]
    assert "<html" not in "".join(bench.errors)


def test_a_certificate_that_is_not_trusted_parks_nothing(
    make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TLS failure is an outage that names the certificate, and nothing goes out."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(theirs)
    with FaultyServer(tls=theirs) as server:
        monkeypatch.setenv("ZAP_TLS", f"{server.url}/hooks/t0k3n")
        hook = CatchHook(url=Secret(env="ZAP_TLS"))
        settings = ZapierSettings(hooks=(hook,), allow=("127.0.0.1",))
        bench = Delivering(ZapierSink("zapier", settings)).add(order()).run(most_waits=2)

        assert server.requests == []
    assert bench.parked == {}
    assert "check its certificate" in bench.errors[0]
    assert "t0k3n" not in bench.errors[0]


def test_a_redirect_to_this_host_is_not_followed(make_sink: MakeSink, server: FaultyServer) -> None:
    """What a hook redirects to gets nothing, and the line says what to do."""
    with FaultyServer() as inside:
        server.then(Reply(302, b"", {"Location": f"{inside.url}/admin"}))
        bench = Delivering(make_sink("/a")).add(order()).run()

        assert inside.connections == 0
    assert "redirects are not followed" in bench.errors[0]
    assert bench.parked == {}


def test_nothing_goes_to_private_places(make_sink: MakeSink, server: FaultyServer) -> None:
    """An address that leads to this host is not connected to, and one line says why."""
    with pytest.raises(ValueError, match="https://"):
        make_sink("/a", allow=())
    url = server.url.replace("http:", "https:")
    sink = make_sink()
    sink._settings = sink._settings.__class__(key=sink._settings.key, hosts=("127.0.0.1",))
    sink._guard = type(sink._guard)()
    sink._fixed = [sink._hook("hooks[0]", f"{url}/a", ())]
    bench = Delivering(sink).add(order()).run(most_waits=1)

    assert "allow it to go there" in bench.errors[0]
    assert server.connections == 0


def test_a_mistake_of_ours_is_an_outage(
    make_sink: MakeSink,
    subscribe: Subscribe,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What nobody expects, in whichever thread, is tried again and takes no event along."""
    bench = Delivering(make_sink("/a", "/b", now=lambda: bench._time))
    judge, failing = ZapierSink._judge, ["hooks[0]", "hooks[1]"]

    def fail(sink: Any, hook: Any, *given: Any) -> Any:
        if hook.id in failing:
            failing.remove(hook.id)
            raise LookupError("s3cr3t")
        return judge(sink, hook, *given)

    monkeypatch.setattr(ZapierSink, "_judge", fail)
    entries = [order(number) for number in range(5)]
    bench.add(*entries).run()

    assert bench.done
    assert bench.parked == {}
    for path in ("/a", "/b"):
        assert {entry.id for entry in entries} == set(got(server, path))
    assert "s3cr3t" not in "".join(bench.errors)


def test_hooks_do_not_show_their_addresses(
    make_sink: MakeSink, subscribe: Subscribe, server: FaultyServer
) -> None:
    """Neither a subscription's `repr` nor an error has the path."""
    bench = Delivering(make_sink())
    made = subscribe(bench.store, "/hooks/standard/t0k3n", "Order Completed")
    with server.doing(500):
        bench.add(order()).run(most_waits=2)

    assert "t0k3n" not in repr(made)
    assert "t0k3n" not in "".join(bench.errors)


def test_what_is_no_subscription_is_passed_over(make_sink: MakeSink, server: FaultyServer) -> None:
    """A piece in the store that cannot be read stops nobody."""
    bench = Delivering(make_sink())
    kept = Kept(bench.store, "sink:zapier")
    kept.put("bad", b"\xff")
    kept.put("worse", b'{"url": "not an address", "event": "Order Completed", "since": ""}')
    bench.add(order()).run()

    assert bench.done
    assert server.requests == []
