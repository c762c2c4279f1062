from __future__ import annotations

import pytest
from django.test import override_settings


@pytest.mark.parametrize("key", ["u:42", "a:0f3", "u:_3A", "u:ärger/?#&"])
def test_ids_are_their_own_address(admin: None, key: str) -> None:
    """An id that is no e-mail address stands for itself."""
    from journeykit.web.django.admin import people

    assert people.to_address(key) == key
    assert people.from_address(key) == key


@pytest.mark.parametrize("key", ["u:a@b", f"u:{'x' * 300}@example.org", "~a", "u:ä@ö.example"])
def test_an_email_address_is_sealed(admin: None, key: str) -> None:
    """An id with an e-mail address is not readable in an address, and comes back from it."""
    from journeykit.web.django.admin import people

    sealed = people.to_address(key)
    assert key not in sealed
    assert "@" not in sealed
    assert people.to_address(key) == sealed
    assert people.from_address(sealed) == key
    assert people.to_address(f"{key}x") != sealed
    with override_settings(SECRET_KEY="another"):
        assert people.from_address(sealed) is None


def test_a_seal_that_was_changed_is_none(admin: None) -> None:
    """Whatever is changed of a sealed address, it stands for nobody."""
    from journeykit.web.django.admin import people

    sealed = people.to_address("u:ada@example.org")
    for place in range(1, len(sealed)):
        other = "A" if sealed[place] != "A" else "B"
        changed = f"{sealed[:place]}{other}{sealed[place + 1 :]}"
        assert people.from_address(changed) in (None, "u:ada@example.org")
        assert people.from_address(sealed[:place]) is None
    assert people.from_address("~") is None
    assert people.from_address("~é!") is None
