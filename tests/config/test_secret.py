from __future__ import annotations

from pathlib import Path

import pytest

from journeykit import Secret


def test_a_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that names a variable is read from it, when it is asked for."""
    secret = Secret(env="SHOP_SECRET")
    monkeypatch.setenv("SHOP_SECRET", "hunter2")
    assert secret.problem() is None
    assert secret.reveal() == "hunter2"


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A variable that is not set, or empty, is a problem that names it."""
    monkeypatch.delenv("SHOP_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("SHOP_SECRET", value)
    assert Secret(env="SHOP_SECRET").problem() == "environment variable SHOP_SECRET is not set"
    with pytest.raises(LookupError, match="SHOP_SECRET is not set"):
        Secret(env="SHOP_SECRET").reveal()


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    """A secret that names a file is its content without the white space around it."""
    (tmp_path / "key").write_text("hunter2\n", encoding="utf-8")
    assert Secret(file=str(tmp_path / "key")).reveal() == "hunter2"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is a problem that names it."""
    with pytest.raises(LookupError, match="none cannot be read"):
        Secret(file=str(tmp_path / "none")).reveal()


def test_a_secret_names_one_place() -> None:
    """Neither no place nor two places are a secret."""
    for places in ({}, {"env": "A", "file": "b"}):
        with pytest.raises(ValueError, match="names one place"):
            Secret(**places)


def test_a_secret_does_not_show_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text form of a secret is its reference."""
    monkeypatch.setenv("SHOP_SECRET", "hunter2")
    secret = Secret(env="SHOP_SECRET")
    secret.reveal()
    assert "hunter2" not in f"{secret!r} {secret}"
    assert "SHOP_SECRET" in repr(secret)
