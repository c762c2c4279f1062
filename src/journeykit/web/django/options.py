"""The setting `JOURNEYKIT`: read, checked, and made into a kit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from django.conf import settings
from django.core import mail
from django.utils.module_loading import import_string

from journeykit.exceptions import ConfigError
from journeykit.kit import JourneyKit
from journeykit.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What errors name as their source.
SETTING: Final = "the setting JOURNEYKIT"

_BOTH: Final = "only one of both; TOML names the file, KIT names what makes a kit in your own code"


@attrs.frozen
class Options:
    """
    The setting `JOURNEYKIT`.

    Args:
        toml: The file with the declarations.

        kit: A kit of your own, or a function that makes one, instead of `toml`.

        plugins: The project's own plugins.

        strict: Overrides `[journeykit] strict`.

        user_id: Returns the id of the person who is signed in, given the request; the primary key
            of Django's user if not given.

        purposes: Returns all purposes that the visitor has agreed to, given the request.

        inject: Whether pages without the tag get the scripts, too.

        cookie_secure: Whether the visitor's cookie is for HTTPS only; as the request came, or as
            the session's cookie is, if not given.

        outbox: The databases that `track_in_transaction` may be used with.
    """

    toml: Path | None = None
    kit: Any = None
    plugins: Sequence[object] = ()
    strict: bool | None = None
    user_id: Callable[[Any], Any] | None = None
    purposes: Callable[[Any], Any] | None = None
    inject: bool = False
    cookie_secure: bool | None = None
    outbox: Sequence[str] = ("default",)

    def make_kit(self) -> JourneyKit:
        """
        Return the kit that this names.

        In Django's test environment one from `toml` keeps what it records in memory, and delivers
        nothing.

        Raises:
            ConfigError: The declarations have mistakes; it names all of them.

            PluginError: A plugin failed while it was asked what it adds.
        """
        if self.toml is not None:
            # As Django's tests have a database and an outbox of mails of their own.
            apart = is_test()
            return JourneyKit.from_toml(
                self.toml,
                plugins=self.plugins,
                strict=self.strict,
                store=MemoryStore() if apart else None,
                delivers=not apart,
            )
        made = self.kit if isinstance(self.kit, JourneyKit) else self.kit()
        if not isinstance(made, JourneyKit):
            problem = f"KIT: gave a {type(made).__name__}; it has to be, or return, a JourneyKit"
            raise ConfigError([problem], source=SETTING)
        return made


def is_test() -> bool:
    """Return whether Django's test environment is set up."""
    return hasattr(mail, "outbox")


def read_options() -> Options:
    """
    Return what the setting says.

    Raises:
        ConfigError: It has mistakes; it names all of them.
    """
    given = getattr(settings, "JOURNEYKIT", None)
    if not isinstance(given, Mapping):
        hint = 'write JOURNEYKIT = {"TOML": BASE_DIR / "journeykit.toml"}'
        raise ConfigError([f"is missing, or no dict; {hint}"], source=SETTING)
    found: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in given.items():
        read = _READERS.get(key)
        if read is None:
            problems.append(f"{key}: there is no such key; there are {', '.join(_READERS)}")
            continue
        try:
            found[key.lower()] = read(value)
        except (ValueError, ImportError) as error:
            problems.append(f"{key}: {error}")
    problems += _disagreements(given)
    if problems:
        raise ConfigError(problems, source=SETTING)
    return Options(**found)


def _disagreements(given: Mapping[str, Any]) -> list[str]:
    """Return what the keys say against each other, or against other settings."""
    problems = []
    if ("TOML" in given) == ("KIT" in given):
        problems.append(f"TOML, KIT: {_BOTH}")
    if "KIT" in given:
        problems += [
            f"{key}: has no effect beside KIT; give it to your own kit"
            for key in ("PLUGINS", "STRICT")
            if key in given
        ]
    outbox = given.get("OUTBOX", ())
    if isinstance(outbox, list | tuple):
        known = ", ".join(settings.DATABASES)
        problems += [
            f"OUTBOX: there is no database {alias!r}; DATABASES has {known or 'none'}"
            for alias in outbox
            if alias not in settings.DATABASES
        ]
    return problems


def _path(value: object) -> Path:
    if not isinstance(value, str | Path):
        msg = f"is {value!r}; write a path, such as BASE_DIR / 'journeykit.toml'"
        raise ValueError(msg)  # noqa: TRY004 - told with the other mistakes of values
    return Path(value)


def _object(value: object) -> object:
    return import_string(value) if isinstance(value, str) else value


def _function(value: object) -> object:
    found = _object(value)
    if not callable(found):
        msg = f"is {value!r}; give a function of the request, or the dotted path of one"
        raise ValueError(msg)  # noqa: TRY004 - as above
    return found


def _kit(value: object) -> object:
    found = _object(value)
    return found if isinstance(found, JourneyKit) else _function(found)


def _plugins(value: object) -> tuple[object, ...]:
    return tuple(_object(each) for each in _sequence(value))


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in _sequence(value))


def _sequence(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        msg = f"is {value!r}; write a list"
        raise ValueError(msg)  # noqa: TRY004 - as above
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"is {value!r}; write True or False"
        raise ValueError(msg)  # noqa: TRY004 - as above
    return value


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "TOML": _path,
    "KIT": _kit,
    "PLUGINS": _plugins,
    "STRICT": _truth,
    "USER_ID": _function,
    "PURPOSES": _function,
    "INJECT": _truth,
    "COOKIE_SECURE": _truth,
    "OUTBOX": _names,
}
