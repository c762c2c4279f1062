from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from journeykit import Consent, Core, Settings
from journeykit.config.settings import ConsentMode, PluginSettings


def test_consent_has_no_default() -> None:
    """Settings without a rule for consent cannot be made."""
    with pytest.raises(TypeError):
        Settings()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Consent()  # type: ignore[call-arg]


def test_consent_is_one_of_two() -> None:
    """A rule for consent is opt_in or opt_out, given as text or as the enum."""
    assert Consent("opt_in") == Consent(ConsentMode.OPT_IN)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="maybe"):
        Consent("maybe")  # type: ignore[arg-type]


def test_a_buffer_has_a_least_size() -> None:
    """A buffer that could not hold two events is refused."""
    with pytest.raises(ValueError, match="buffer_bytes"):
        Core(buffer_bytes=65535)
    assert Core(buffer_bytes=65536).buffer_bytes == 65536


@pytest.mark.parametrize("value", ["noisy", [7]])
def test_disabled_plugins_are_a_list_of_texts(value: Any) -> None:
    """A single text is not taken for a list of its letters."""
    with pytest.raises(TypeError):
        PluginSettings(value)


def test_paths_start_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings made in Python start relative paths at the working directory of that moment."""
    monkeypatch.chdir(tmp_path)
    assert Settings(consent=Consent("opt_out")).base == tmp_path  # type: ignore[arg-type]
