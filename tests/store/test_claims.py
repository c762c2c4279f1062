from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journeykit.exceptions import StoreError
from journeykit.store.claims import KEPT, Claim, Claims, MemoryClaims
from journeykit.store.sqlite_claims import SQLiteClaims

NOON = 1_772_452_800_000_000


def claim(impression: str = "i1", customer: str = "u:ada", **more: Any) -> Claim:
    """Return a claim of noon, due in three seconds."""
    fields: dict[str, Any] = {"prompt": "q", "session": None, "language": "en"}
    fields |= {"claimed_at": NOON, "due_at": NOON + 3, "expires_at": NOON + 9}
    return Claim(impression, customer, **{**fields, **more})


@pytest.fixture(params=["memory", "sqlite"])
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Claims]:
    """Return empty claims, of each kind in turn."""
    if request.param == "memory":
        yield MemoryClaims()
        return
    kept = SQLiteClaims(tmp_path / "claims")
    yield kept
    kept.close()


def test_take_and_find(claims: Claims) -> None:
    """A claim that was taken is found by its impression and by its customer, the oldest first."""
    first, second = claim(), claim("i0", claimed_at=NOON + 1, shown_at=NOON, withdrawn=False)
    assert claims.take(first, ["u:ada"], [])
    assert claims.take(second, ["a:d"], [])
    assert claims.take(claim("i2", "u:bob"), ["u:bob"], [])
    assert claims.find("i1") == first
    assert claims.find("i9") is None
    assert claims.of(["u:ada", "a:d"]) == [first, second]
    assert claims.of([]) == []


def test_take_only_what_nobody_else_has_taken(claims: Claims) -> None:
    """Where the claims are others than were looked at, none is taken; one that waits gives way."""
    keys = ["u:ada", "a:d"]
    assert claims.take(claim(), keys, [])
    assert not claims.take(claim("i2"), keys, [])
    assert claims.take(claim("i2"), keys, claims.of(keys))
    assert [each.withdrawn for each in claims.of(keys)] == [True, False]


def test_change_only_what_is_still_so(claims: Claims) -> None:
    """A claim is replaced as it was read; of two who change it, one does."""
    claims.take(claim(), ["u:ada"], [])
    shown = claim(shown_at=NOON + 5, rank=1)
    assert claims.change(claim(), shown)
    assert not claims.change(claim(), claim(withdrawn=True))
    assert claims.find("i1") == shown
    assert not claims.change(claim("i7"), claim("i7"))


def test_old_claims_go(claims: Claims) -> None:
    """What is older than two days goes with the next claim of anybody."""
    claims.take(claim(), ["u:ada"], [])
    known = claims.of(["u:ada"])
    late = claim("i2", claimed_at=NOON + KEPT + 1)
    assert claims.take(late, ["u:ada"], known)
    assert claims.of(["u:ada"]) == [late]


def test_forget(claims: Claims) -> None:
    """Who is erased has no claim any more."""
    claims.take(claim(), ["u:ada"], [])
    claims.take(claim("i2", "u:bob"), ["u:bob"], [])
    assert claims.forget(["u:ada", "a:x"]) == 1
    assert claims.find("i1") is None
    assert claims.find("i2") is not None


def test_nothing_is_made_to_forget(tmp_path: Path) -> None:
    """Where there was never a claim, to forget one makes no file."""
    assert SQLiteClaims(tmp_path / "claims").forget(["u:ada"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_reads(tmp_path: Path) -> None:
    """The file is its owner's alone."""
    kept = SQLiteClaims(tmp_path / "claims")
    kept.take(claim(), ["u:ada"], [])
    assert stat.S_IMODE((tmp_path / "claims").stat().st_mode) == 0o600
    assert kept.size() > 0
    kept.close()


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    """A file that is no database is an error once, and then an empty one."""
    (tmp_path / "claims").write_bytes(b"rubbish" * 1000)
    kept = SQLiteClaims(tmp_path / "claims")
    with pytest.raises(StoreError):
        kept.find("i1")
    assert kept.take(claim(), ["u:ada"], [])
    kept.close()


def test_a_file_that_was_taken_away(tmp_path: Path) -> None:
    """Where somebody deletes the file, claims go on in a new one."""
    kept = SQLiteClaims(tmp_path / "claims")
    kept.take(claim(), ["u:ada"], [])
    (tmp_path / "claims").unlink()
    assert kept.of(["u:ada"]) == []
    assert kept.take(claim(), ["u:ada"], [])
    kept.close()


def test_nobody_waits_for_long(tmp_path: Path) -> None:
    """Where another process holds the file, a page hears that it is busy within the second."""
    kept = SQLiteClaims(tmp_path / "claims")
    kept.find("i1")
    other = sqlite3.connect(tmp_path / "claims", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        kept.take(claim(), ["u:ada"], [])
    other.close()
    kept.close()


def _race(path: Path, number: int, barrier: Any, won: Any) -> None:
    kept = SQLiteClaims(path)
    for round_ in range(40):
        keys = [f"u:{round_}"]
        known = kept.of(keys)
        barrier.wait(30)
        while True:
            try:
                taken = kept.take(claim(f"{round_}-{number}", keys[0]), keys, known)
                break
            except StoreError:
                continue
        if taken:
            with won.get_lock():
                won[round_] += 1
    kept.close()


def test_several_processes_claim_once(tmp_path: Path) -> None:
    """Of four processes that claim for one customer at once, one gets it, each time."""
    spawn = multiprocessing.get_context("spawn")
    barrier, won = spawn.Barrier(4), spawn.Array("i", 40)
    racing = [
        spawn.Process(target=_race, args=(tmp_path / "claims", number, barrier, won))
        for number in range(4)
    ]
    for process in racing:
        process.start()
    for process in racing:
        process.join(60)
        assert process.exitcode == 0
    assert list(won) == [1] * 40


def test_a_fork_has_connections_of_its_own(tmp_path: Path) -> None:
    """A child that is forked after a claim takes its own, and the parent goes on."""
    kept = SQLiteClaims(tmp_path / "claims")
    kept.take(claim(), ["u:ada"], [])
    child = os.fork()
    if child == 0:
        try:
            done = kept.take(claim("i2", "u:bob"), ["u:bob"], [])
        except BaseException:
            os._exit(2)
        os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert kept.find("i2") is not None
    kept.close()
