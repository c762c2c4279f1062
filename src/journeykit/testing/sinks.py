"""The contract of sinks: tests that every sink passes, and what they need."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
import pytest

from journeykit.delivery.sink import Batch, ErasureResult, Rejection, Sink
from journeykit.exceptions import DeliveryError
from journeykit.model.customer import Customer
from journeykit.model.event import DELIVER, HISTORICAL, Entry, Kind
from journeykit.testing.delivering import Delivering
from journeykit.testing.events import make_batch, make_entry
from journeykit.testing.outside import HttpOutside, Outside
from journeykit.testing.server import Fault, FaultyServer, Received, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What the events of the contract say about a person, and nobody but the other side may learn.
PERSONAL: Final = ("ada.lovelace", "ada@example.com", "+44 20 7946 0018", "cookie-of-ada")


#: How long a forked child may take to deliver one event.
_CHILD_SECONDS: Final = 10

_HTML: Final = Reply(200, b"<html><body>Sign in</body></html>", {"Content-Type": "text/html"})
_HALF: Final = Reply(200, b'{"results": [{"id": ', {"Content-Type": "application/json"})


def people(count: int, *, each: int = 2) -> list[Entry]:
    """Return events of *count* customers who take turns, *each* of everybody."""
    return [
        make_entry("Product Viewed", {"number": turn}, user_id=f"customer-{number}", at=turn)
        for turn in range(each)
        for number in range(count)
    ]


def of_ada(name: str = "Product Viewed", properties: dict[str, Any] | None = None) -> Entry:
    """Return an event of somebody about whom nobody else may learn."""
    return make_entry(name, properties, user_id=PERSONAL[0], anonymous_id=PERSONAL[3])


def awkward() -> list[Entry]:
    """Return events that are right, and not what one thinks of."""
    said = {"email": PERSONAL[1], "phone": PERSONAL[2]}
    return [
        make_entry("Product Viewed", {}, user_id=None, anonymous_id="nobody-known"),
        make_entry("Größe gewählt 👟", {"größe": "42½", "note": 'a "quoted"\n\t\x7f line'}),
        make_entry("Order Completed", {"revenue": 1e300, "tax": -0.0, "count": 2**63}),
        make_entry("Cart Viewed", {"products": [{"sku": "a"}, None, [], {}], "open": None}),
        make_entry("x" * 200, {"k" * 200: "v" * 20_000}),
        make_entry("customer.identified", said, kind=Kind.FACT, actor="app", reason=None),
        make_entry(
            "stage.entered",
            {"stage": "purchase", "from": None, "visit": 1},
            kind=Kind.DERIVED,
            journey="shop",
            version=1,
            stage="purchase",
            instance="",
        ),
        make_entry("Order Completed", said, flags=HISTORICAL | DELIVER, at=-86_400 * 400),
        make_entry("<script>&amp;%00{{7*7}}", {"$ref": "#/a", "__proto__": {"a": 1}}),
    ]


class SinkContract:
    """
    What every sink keeps; a test class of yours derives from it.

    It needs two fixtures: `sink`, the sink under test, and `outside`, what the sink delivers to.
    A sink that speaks HTTP derives from `HttpSinkContract`, which has the second one.
    """

    #: What must not stand in a log, an error or a `repr`: give the secrets of your fixture.
    secrets: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def sink(self) -> Any:
        """Return the sink under test; yours replaces this."""
        pytest.fail(f"{type(self).__name__} has no fixture `sink`")

    @pytest.fixture
    def outside(self) -> Outside:
        """Return what the sink delivers to; yours replaces this."""
        pytest.fail(f"{type(self).__name__} has no fixture `outside`")

    def test_contract_sink_has_what_a_sink_has(self, sink: Any) -> None:
        """It has a name and the two methods, and says of itself only what is understood."""
        assert isinstance(sink.name, str)
        assert sink.name
        assert callable(sink.deliver)
        assert callable(sink.close)
        assert getattr(sink, "third_party", True) in (True, False)

    def test_contract_every_event_arrives(self, sink: Sink, outside: Outside) -> None:
        """Every event of a batch arrives, once."""
        entries = people(4)
        Delivering(sink).add(*entries).run()

        ids = [entry.id for entry in entries]
        assert sorted(outside.arrived(ids)) == sorted(ids)

    def test_contract_a_customers_events_arrive_in_order(
        self, sink: Sink, outside: Outside
    ) -> None:
        """The events of each customer arrive in the order in which the Log has them."""
        entries = people(5, each=4)
        Delivering(sink).add(*entries).run()

        for customer in {entry.user_id for entry in entries}:
            theirs = [entry.id for entry in entries if entry.user_id == customer]
            assert outside.arrived(theirs) == theirs

    def test_contract_many_batches_arrive(self, sink: Sink, outside: Outside) -> None:
        """More events than a batch holds arrive, each once, and none is parked."""
        entries = people(40, each=15)
        bench = Delivering(sink).add(*entries).run()

        ids = [entry.id for entry in entries]
        assert bench.parked == {}
        assert sorted(outside.arrived(ids)) == sorted(ids)

    def test_contract_no_event_holds_up_others(self, sink: Sink, outside: Outside) -> None:
        """An unusual event arrives or is set aside with a reason, and ordinary ones go on."""
        odd, ordinary = awkward(), people(3)
        bench = Delivering(sink).add(*odd, *ordinary).run()

        arrived = outside.arrived([entry.id for entry in [*odd, *ordinary]])
        assert bench.waits == [], bench.errors
        assert {entry.id for entry in odd} <= {*arrived, *bench.parked}
        assert {entry.id for entry in ordinary} <= set(arrived)
        assert all(bench.parked.values())

    def test_contract_an_empty_batch_is_harmless(self, sink: Sink) -> None:
        """A batch without events is delivered."""
        assert not list(sink.deliver(Batch([])) or ())

    def test_contract_an_outage_is_waited_out(self, sink: Sink, outside: Outside) -> None:
        """While the other side is away nothing is lost and nothing parked; then all arrives."""
        outage = outside.outage()
        if outage is None:
            pytest.skip("the other side is always there")
        entries = people(6)
        bench = Delivering(sink)
        with outage:
            bench.add(*entries).run(most_waits=5)
            assert len(bench.waits) == 5
            assert not bench.done
        bench.run()

        ids = [entry.id for entry in entries]
        assert bench.parked == {}
        assert set(outside.arrived(ids)) == set(ids)

    def test_contract_an_event_that_comes_again_has_its_id(
        self, sink: Sink, outside: Outside
    ) -> None:
        """An event that is delivered once more goes out under the id that it had."""
        entries = people(3)
        assert not list(sink.deliver(make_batch(*entries)) or ())
        once = len(list(outside.pieces()))
        assert not list(sink.deliver(make_batch(*entries)) or ())

        # A sink may know what it has sent, and send nothing.
        times = 1 if len(list(outside.pieces())) == once else 2
        arrived = outside.arrived([entry.id for entry in entries])
        assert {arrived.count(entry.id) for entry in entries} == {times}

    def test_contract_a_closed_sink_opens_again(self, sink: Sink, outside: Outside) -> None:
        """Closing may be done before, after and twice, and the next batch arrives."""
        first, second = people(1)
        sink.close()
        sink.deliver(make_batch(first))
        sink.close()
        sink.close()
        sink.deliver(make_batch(second))

        assert outside.arrived([first.id, second.id]) == [first.id, second.id]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_contract_parent_and_forked_child_do_not_mix(self, sink: Any, outside: Outside) -> None:
        """A forked child harms nothing that its parent has open, and can take over from it."""
        if not hasattr(sink, "reset_after_fork"):
            pytest.skip("this sink has nothing to forget after a fork")
        entries = people(1, each=3)
        sink.deliver(make_batch(entries[0]))
        assert _in_a_child(lambda: _after_fork(sink)) == 0
        sink.deliver(make_batch(entries[1]))
        # One process delivers at a time: the other lets go first.
        sink.close()
        assert _in_a_child(lambda: _after_fork(sink, entries[2])) == 0

        ids = [entry.id for entry in entries]
        assert outside.arrived(ids) == ids

    def test_contract_erasing_says_what_became_of_it(self, sink: Any) -> None:
        """A sink that can erase says what it did, for whoever it is asked, and when asked again."""
        if not hasattr(sink, "erase"):
            pytest.skip("this sink cannot erase")
        sink.deliver(make_batch(of_ada()))
        for customer in (Customer(PERSONAL[0]), Customer(None, PERSONAL[3]), Customer("stranger")):
            for _ in range(2):
                assert isinstance(sink.erase(customer), ErasureResult)

    def test_contract_nothing_private_shows(
        self, sink: Sink, outside: Outside, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither secrets nor people are in logs, errors, reasons, or the sink's `repr`."""
        bench = Delivering(sink)
        with caplog.at_level(logging.DEBUG):
            bench.add(*(of_ada(f"Said {PERSONAL[1]}") for _ in range(3))).run()
            with outside.outage() or contextlib.nullcontext():
                bench.add(*awkward(), of_ada()).run(most_waits=2)
            bench.run()

        self.assert_nothing_shows(sink, bench, caplog)

    def assert_nothing_shows(
        self, sink: Sink, bench: Delivering, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fail where a secret, or something about a person, can be seen by others."""
        told = [record.getMessage() + str(vars(record)) for record in caplog.records]
        seen = "\n".join([*told, *bench.errors, *bench.parked.values(), repr(sink), str(sink)])
        for private in (*self.secrets, *PERSONAL):
            assert private not in seen


class HttpSinkContract(SinkContract):
    """
    What every sink keeps that speaks HTTP.

    It needs one fixture, `sink`, which asks for `server` and delivers to `server.url`.
    Let the sink's time-outs be short there: a test waits for them.
    Where the other side says more than 200, replace the fixture `server` by one with an `answer`.
    """

    #: How long a delivery may take at most while nobody answers, in seconds.
    patience: ClassVar[float] = 10.0

    @pytest.fixture
    def server(self) -> Iterator[FaultyServer]:
        """Return the other side: it takes everything, until a test tells it not to."""
        with FaultyServer() as server:
            yield server

    @pytest.fixture
    def outside(self, server: FaultyServer) -> Outside:
        """Return the server, as something that can be looked at."""
        return HttpOutside(server)

    def refuse(self, entry: Entry) -> Any:
        """
        Return what the server does about an event that it never takes.

        By default it answers 400 to each request that has the event's id in it; where your other
        side tells of each event in its answer, replace this.
        """

        def trouble(request: Received) -> int | None:
            return 400 if entry.id.encode() in request.text else None

        return trouble

    def test_contract_building_connects_to_nobody(self, sink: Sink, server: FaultyServer) -> None:
        """A sink that was only built has not reached out."""
        assert server.connections == 0

    @pytest.mark.parametrize(
        "trouble",
        [408, 429, 500, 502, 503, 504, Fault.DROP],
        ids=str,
    )
    def test_contract_trouble_that_passes_parks_nothing(
        self, sink: Sink, server: FaultyServer, outside: Outside, trouble: Any
    ) -> None:
        """A server that cannot now is asked again, until all has arrived."""
        self._survives(trouble, sink, server, outside)

    @pytest.mark.parametrize("status", [401, 403])
    def test_contract_wrong_credentials_park_nothing(
        self, sink: Sink, server: FaultyServer, outside: Outside, status: int
    ) -> None:
        """A server that lets nobody in is asked again: somebody will put it right."""
        self._survives(status, sink, server, outside)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_contract_redirects_are_not_followed(
        self, sink: Sink, server: FaultyServer, outside: Outside, status: int
    ) -> None:
        """What one server is to have goes to no other that it names, and is not lost."""
        away = {"Location": f"{server.url}/contract-elsewhere"}
        self._survives(Reply(status, b"", away), sink, server, outside)

        assert not [each for each in server.requests if "contract-elsewhere" in each.path]

    def _survives(
        self, trouble: Any, sink: Sink, server: FaultyServer, outside: Outside
    ) -> Delivering:
        entries = people(6)
        bench = Delivering(sink).add(*entries)
        with server.doing(trouble):
            bench.run(most_waits=3)
            assert len(bench.waits) == 3, "the relay was not told of the trouble"
            assert not bench.done
        bench.run()

        ids = [entry.id for entry in entries]
        assert bench.done, bench.errors
        assert bench.parked == {}
        assert set(outside.arrived(ids)) == set(ids)
        return bench

    @pytest.mark.parametrize("status", [429, 503])
    def test_contract_retry_after_is_honoured(
        self, sink: Sink, server: FaultyServer, status: int
    ) -> None:
        """A server that says when to come again is left alone until then."""
        server.then(Reply(status, b"", {"Retry-After": "1234"}))
        bench = Delivering(sink).add(*people(2)).run()

        assert bench.waits
        assert bench.waits[0] >= 1234

    def test_contract_a_refused_event_is_set_aside_alone(
        self, sink: Sink, server: FaultyServer, outside: Outside
    ) -> None:
        """An event that the server never takes is parked or held back, and all others arrive."""
        entries = people(8)
        refused, others = entries[3], [entry for entry in entries if entry is not entries[3]]
        # Later events of its customer may wait for one that is held back.
        others = [entry for entry in others if entry.user_id != refused.user_id]
        bench = Delivering(sink).add(*entries)
        with server.doing(self.refuse(refused)):
            bench.run(most_waits=10)

        ids = [entry.id for entry in others]
        assert set(outside.arrived(ids)) == set(ids)
        assert refused.id not in outside.arrived([refused.id])
        assert set(bench.parked) <= {refused.id}
        assert refused.id in bench.parked or bench.relay.status()["held_back"]
        assert all(bench.parked.values())

    def test_contract_what_may_have_arrived_comes_again(
        self, sink: Sink, server: FaultyServer, outside: Outside
    ) -> None:
        """Where only the answer got lost, the event goes out again, under the same id."""
        (entry,) = people(1, each=1)
        server.then(Fault.LOSE)
        bench = Delivering(sink).add(entry).run()

        assert bench.parked == {}
        assert outside.arrived([entry.id]) == [entry.id] * 2

    @pytest.mark.parametrize("fault", [Fault.HANG, Fault.TRICKLE, Fault.ENDLESS], ids=str)
    def test_contract_deliver_ends_whatever_the_server_does(
        self, sink: Sink, server: FaultyServer, outside: Outside, fault: Fault
    ) -> None:
        """A server that never answers, or never ends its answer, is given up on."""
        entries = people(1)
        outcome: list[Any] = []
        with server.doing(fault):
            delivery = threading.Thread(target=_try, args=(sink, entries, outcome), daemon=True)
            delivery.start()
            delivery.join(self.patience)
            assert outcome, f"deliver was still waiting after {self.patience} s"
        delivery.join()
        assert outcome[0] is None or outcome[0].retryable
        Delivering(sink).add(*entries).run()

        ids = [entry.id for entry in entries]
        assert set(outside.arrived(ids)) == set(ids)

    def test_contract_a_slow_answer_is_an_answer(self, sink: Sink, server: FaultyServer) -> None:
        """A server that takes its time is waited for, and is not sent the same again."""
        with server.doing(Reply(delay=0.05)):
            bench = Delivering(sink).add(*people(1)).run(most_waits=3)

        # Whether an empty answer will do is the sink's affair; that it came late is not the reason.
        assert not any("Timeout" in error for error in bench.errors)

    @pytest.mark.parametrize(
        "trouble",
        [_HTML, _HALF, Reply(), Fault.CUT, attrs.evolve(_HTML, status=502)],
        ids=["html", "half of an answer", "empty", "cut off", "html error page"],
    )
    def test_contract_rubbish_for_an_answer_loses_nothing(
        self, sink: Sink, server: FaultyServer, outside: Outside, trouble: Any
    ) -> None:
        """An answer that makes no sense is a success or an outage: no event is parked for it."""
        entries = people(3)
        server.then(trouble)
        bench = Delivering(sink).add(*entries).run()

        ids = [entry.id for entry in entries]
        assert bench.done, bench.errors
        assert bench.parked == {}
        assert set(outside.arrived(ids)) == set(ids)
        assert not any("<html" in error for error in bench.errors)

    def test_contract_nothing_private_shows_in_trouble(
        self, sink: Sink, server: FaultyServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a server throws back is neither logged nor told: it may hold what it was sent."""

        def echo(request: Received) -> Reply:
            return Reply(400, request.text[:5000])

        bench = Delivering(sink)
        with caplog.at_level(logging.DEBUG):
            bench.add(of_ada("Signed Up", {"email": PERSONAL[1]}))
            server.then(500, Fault.DROP, 401, _HTML, 302)
            bench.run(most_waits=8)
            with server.doing(echo):
                bench.add(of_ada("Signed Up", {"phone": PERSONAL[2]}))
                bench.run(most_waits=3)
            bench.run()

        self.assert_nothing_shows(sink, bench, caplog)


def _after_fork(sink: Any, *entries: Entry) -> None:
    sink.reset_after_fork()
    if entries:
        sink.deliver(make_batch(*entries))
    sink.close()


def _in_a_child(function: Callable[[], None]) -> int:
    """Run *function* in a forked child; returns its exit code, or minus a signal."""
    with warnings.catch_warnings():
        # That threads run beside a fork is what a web server does, and what is to be tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing of this test may run on in the child
            traceback.print_exc()
        finally:
            os._exit(code)
    for _ in range(_CHILD_SECONDS * 100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def _try(sink: Sink, entries: list[Entry], outcome: list[Any]) -> None:
    try:
        rejected: list[Rejection] = list(sink.deliver(make_batch(*entries)) or ())
    except DeliveryError as error:
        outcome.append(error)
    except Exception as error:  # noqa: BLE001 - means the same as an error that may be tried again
        outcome.append(DeliveryError(type(error).__name__))
    else:
        outcome.append(rejected[0] if rejected else None)
