from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import Customer
from journeykit.web.tokens import Problem, Tokens, kept_key, key_of

ADA = Customer("u1", "a1", "s1")
TOKENS = Tokens(b"k" * 32)


def test_a_token_is_good_until_it_expires() -> None:
    """Until its time is over there is nothing wrong with it, and then it is expired."""
    token = TOKENS.make("i1", ADA, 1000, "v1")

    assert TOKENS.check(token, "i1", ADA, 999) is None
    assert TOKENS.check(token, "i1", ADA, 1000) is Problem.EXPIRED


@pytest.mark.parametrize(
    "customer",
    [Customer(), Customer("a1"), Customer("u1", "a2"), Customer(None, "u1"), Customer(None, "a")],
)
def test_a_token_is_no_good_to_anybody_else(customer: Customer) -> None:
    """It is bound to one customer; an id of another kind with the same text is another."""
    assert TOKENS.check(TOKENS.make("i1", ADA, 1000), "i1", customer, 0) is Problem.FOREIGN


def test_who_signed_in_since_is_the_same() -> None:
    """A visitor who was asked and signs in is who was asked; who had no cookie goes by the id."""
    asked = TOKENS.make("i1", Customer(None, "a1"), 1000)
    known = TOKENS.make("i1", Customer("u1"), 1000)

    assert TOKENS.check(asked, "i1", ADA, 0) is None
    assert TOKENS.check(known, "i1", ADA, 0) is None


def test_another_key_and_another_impression_are_foreign() -> None:
    """A token holds for its impression and its key."""
    token = TOKENS.make("i1", ADA, 1000)

    assert TOKENS.check(token, "i2", ADA, 0) is Problem.FOREIGN
    assert Tokens(b"x" * 32).check(token, "i1", ADA, 0) is Problem.FOREIGN


@given(st.text(max_size=60) | st.integers() | st.none() | st.lists(st.text()))
def test_whatever_else_is_no_token(value: object) -> None:
    """Nothing that was not made here is taken, and nothing makes the check fail."""
    assert TOKENS.check(value, "i1", ADA, 0) is Problem.FOREIGN


@given(st.integers(0, 60), st.characters(codec="ascii"))
def test_a_token_with_another_letter_is_foreign(at: int, letter: str) -> None:
    """No letter of a token can be changed."""
    token = TOKENS.make("i1", ADA, 0xABCDEF, "v1")
    changed = token[:at] + letter + token[at + 1 :]

    assert (TOKENS.check(changed, "i1", ADA, 0) is None) is (changed == token)


def test_a_token_names_nobody() -> None:
    """Ids do not stand in it."""
    token = TOKENS.make("i1", Customer("ada@example.com", "0123456789abcdef"), 1000)

    assert "ada" not in token
    assert "0123456789abcdef" not in token


def _kept(path: str, found: object) -> None:
    found.put(kept_key(Path(path)))  # type: ignore[attr-defined]


def test_all_processes_make_one_key(tmp_path: Path) -> None:
    """Processes that come at once agree on a key, which only the owner can read."""
    path = tmp_path / "new" / "key"
    spawn = multiprocessing.get_context("fork")
    found = spawn.Queue()
    processes = [spawn.Process(target=_kept, args=(str(path), found)) for _ in range(4)]
    for process in processes:
        process.start()
    keys = {found.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()

    assert keys == {path.read_bytes()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_a_key_that_is_none_is_made_again(tmp_path: Path) -> None:
    """A file that was cut short is replaced."""
    path = tmp_path / "key"
    path.write_bytes(b"short")

    assert len(kept_key(path)) == 32
    assert kept_key(path) == path.read_bytes()


def test_where_no_key_can_be_kept_there_is_one_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a place for it, the key lasts as long as the process, and that is logged."""
    (tmp_path / "file").touch()

    assert len(kept_key(tmp_path / "file" / "key")) == 32
    assert [record.message for record in caplog.records] == ["journeykit.web_key_not_kept"]
    assert len(kept_key(None)) == 32


def test_a_secret_is_a_key() -> None:
    """The same secret is the same key on every host."""
    assert key_of("s") == key_of("s") != key_of("t")
    assert len(key_of("s")) == 32
