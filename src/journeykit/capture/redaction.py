"""
Redaction: what never reaches the Log.

By key in the caller, before encoding is done with; by pattern in the committer.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from journeykit.capture import patterns
from journeykit.capture.encode import encode
from journeykit.capture.patterns import looks
from journeykit.config.settings import Pattern, Redaction
from journeykit.model import jsonbytes
from journeykit.model.event import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from journeykit.capture.patterns import Span

#: What stands for a secret.
REDACTED: Final = "[redacted]"

#: Keys whose values are secret in every shop, however they are written.
#: Not among them is what a shop may well sell or count: pan, card, key, code, account, signature.
KEYS: Final = (
    # What opens an account
    "password", "passwd", "pwd", "passphrase", "passcode", "pin", "otp", "one_time_password",
    "password1", "password2", "password_confirmation", "confirm_password", "current_password",
    "new_password", "old_password", "repeat_password", "user_password",
    # What opens an interface
    "secret", "client_secret", "secret_key", "private_key", "api_key", "apikey", "access_key",
    "token", "access_token", "refresh_token", "id_token", "auth_token", "session_token",
    "csrf_token", "csrfmiddlewaretoken", "xsrf_token", "bearer", "credentials",
    # What requests carry
    "authorization", "proxy_authorization", "cookie", "set_cookie", "x_api_key",
    "x_csrf_token",
    # What pays
    "card_number", "credit_card", "credit_card_number", "cc_number", "card_code", "cvc", "cvc2",
    "cvv", "cvv2", "csc", "security_code", "iban", "bank_account",
    # Who somebody is to the state
    "ssn", "social_security_number", "passport_number", "tax_id",
)  # fmt: skip

#: The most names to remember as harmless; a shop that makes up more pays for each look.
_REMEMBERED: Final = 4096

_PUNCTUATION: Final = re.compile(r"[\W_]+")

#: What holds no keys of its own.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})

#: The ids of trace and span, which may look like a number.
_IDS: Final = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")

_BRACE: Final = b"{"
_CONTEXT: Final = b'"context":'


def normal(key: str) -> str:
    """Return *key* without what people write in different ways: case, dashes, underscores."""
    return _PUNCTUATION.sub("", key).casefold()


class Redactor:
    """Takes out of events what *declared* says, and what is secret in every shop."""

    def __init__(self, declared: Redaction | None = None) -> None:
        declared = declared or Redaction()
        self._keep = frozenset(map(normal, declared.keep))
        self._secret = frozenset(map(normal, (*KEYS, *declared.keys))) - self._keep
        self._patterns = frozenset(declared.patterns)
        #: Keys that were looked at and are harmless.
        self._harmless: set[Any] = set()

    # By key, in the caller

    def by_key(self, value: Any, encoded: bytes) -> bytes:
        """Return *encoded*, the JSON of *value*, without the values of secret keys."""
        # The ordinary event: a flat dict of keys that were all seen before.
        if type(value) is dict and self._harmless.issuperset(value) and encoded.rfind(_BRACE) == 0:
            return encoded
        if self._is_harmless(value):
            return encoded
        plain = jsonbytes.loads(encoded)
        return encode(plain) if self.clear(plain) else encoded

    def clear(self, plain: Any) -> bool:
        """Redact the values of secret keys in *plain*, JSON values; returns whether any was."""
        found = False
        if type(plain) is list:
            for item in plain:
                found |= type(item) not in _PLAIN and self.clear(item)
        if type(plain) is not dict:
            return found
        for key, value in plain.items():
            if self.is_secret(key):
                plain[key], found = REDACTED, True
            elif type(value) not in _PLAIN:
                found |= self.clear(value)
        return found

    def is_secret(self, key: str) -> bool:
        """Return whether the value of *key* is secret."""
        if key in self._harmless:
            return False
        if normal(key) in self._secret:
            return True
        if len(self._harmless) < _REMEMBERED:
            self._harmless.add(key)
        return False

    def _is_harmless(self, value: Any) -> bool:
        """Return whether *value* is made of plain containers, and no key in it is secret."""
        kind = type(value)
        if kind is dict:
            inner = value.values() if self._harmless.issuperset(value) else None
        else:
            inner = value if kind is list or kind is tuple else None
        if inner is None:
            return False
        return all(type(item) in _PLAIN or self._is_harmless(item) for item in inner)

    # By pattern, in the committer

    def entries(self, entries: Iterable[Entry]) -> tuple[list[Entry], Counter[str]]:
        """Return *entries* without what has a secret form, and how often each was found."""
        counts: Counter[str] = Counter()
        if not self._patterns:
            return list(entries), counts
        redacted = []
        for entry in entries:
            # The customer's ids come before the context, and stay as they are.
            data = entry.body[entry.body.find(_CONTEXT) :]
            seen = looks(data, self.is_secret)
            redacted.append(self._without(entry, seen, counts) if seen else entry)
        return redacted, counts

    def _without(self, entry: Entry, seen: frozenset[Pattern], counts: Counter[str]) -> Entry:
        wanted = self._patterns & seen
        if not wanted:
            return entry
        wire = jsonbytes.loads(entry.body)
        scan = _Scan(self, wanted)
        context = {
            key: value if key == "trace" and _is_trace(value) else scan.value(value, key)
            for key, value in wire["context"].items()
        }
        properties = scan.value(wire["properties"])
        if not scan.found:
            return entry
        counts.update({f"redacted:{kind}": count for kind, count in scan.found.items()})
        return entry._replace(body=encode({**wire, "context": context, "properties": properties}))

    def text(self, text: str) -> str:
        """Return *text* without what has a secret form."""
        return _Scan(self, self._patterns).text(text) if self._patterns else text

    def keeps(self, key: str) -> bool:
        """Return whether the value of *key* stays as it is."""
        return bool(self._keep) and normal(key) in self._keep


class _Scan:
    """One event's values, looked through for what has a form of *wanted*."""

    def __init__(self, redactor: Redactor, wanted: frozenset[Pattern]) -> None:
        self._redactor = redactor
        self._wanted = wanted
        self.found: Counter[str] = Counter()

    def value(self, value: Any, key: str = "") -> Any:
        """Return the JSON value *value*, which stands at *key*, redacted."""
        if key and self._redactor.keeps(key):
            return value
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int:
            return REDACTED if self._is_number(value) else value
        if kind is list:
            return [self.value(item) for item in value]
        return self._mapping(value) if kind is dict else value

    def _mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        redacted: dict[str, Any] = {}
        for key, item in value.items():
            new = self.text(key)
            while new in redacted:
                new += "_"
            redacted[new] = self.value(item, key)
        return redacted

    def _is_number(self, value: int) -> bool:
        if Pattern.CARD not in self._wanted or not patterns.is_card(str(value)):
            return False
        self.found[Pattern.CARD] += 1
        return True

    def text(self, text: str) -> str:
        """Return *text*, redacted."""
        for kind in Pattern:
            if kind in self._wanted:
                text = self._without(kind, text)
        return text

    def _without(self, kind: Pattern, text: str) -> str:
        spans = sorted(self._find(kind, text))
        if not spans:
            return text
        pieces, place = [], 0
        for start, end in spans:
            if start < place:
                # Within the one before, or overlapping it.
                place = max(place, end)
                continue
            pieces += [text[place:start], REDACTED]
            place = end
            self.found[kind] += 1
        return "".join((*pieces, text[place:]))

    def _find(self, kind: Pattern, text: str) -> Iterable[Span]:
        if kind is Pattern.TOKEN:
            return patterns.find_tokens(text, self._redactor.is_secret)
        return _FINDERS[kind](text)


def _is_trace(value: Any) -> bool:
    if type(value) is not dict or value.keys() != {"trace_id", "span_id"}:
        return False
    return all(type(item) is str and _IDS.fullmatch(item) for item in value.values())


_FINDERS: Final = {
    Pattern.CARD: patterns.find_cards,
    Pattern.EMAIL: patterns.find_emails,
    Pattern.IBAN: patterns.find_ibans,
}
