"""The one base exception, and how errors speak: what, got, expected, the fix."""

from collections.abc import Iterable
from difflib import get_close_matches


class PalaestraError(Exception):
    """Anything that a user can mend: the message says what, got, expected, and the fix."""


class UnknownNameError(PalaestraError, ValueError):
    """A name that is not registered; the message lists the valid ones."""

    def __init__(self, what: str, got: str, valid: Iterable[str]):
        choices = sorted(valid)
        close = get_close_matches(got, choices, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {what} {got!r}; expected one of: {', '.join(choices)}.{hint}")


class MissingExtraError(PalaestraError, ImportError):
    """An optional package is absent; the message carries the install line."""

    def __init__(self, what: str, package: str, extra: str):
        super().__init__(f"{what} needs the package {package!r}, which is not installed. Fix: pip install 'palaestra[{extra}]'")
