"""The parts of an address: its scheme, the name and password, and the host."""

from __future__ import annotations

import re

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
"""The start of an address, up to the two slashes. Group 1 is the scheme."""
HOST = r"(?:\[[^\]\s]+\]|[^\s/?#@:\[\]]+)?(?::\d*)?"
"""Host and port. Both may be missing."""
_AFTER_HOST = r"(?=[/?]|\Z|#(?!.*@))"


def end_of_user(rest: str) -> int | None:
    """Find the `@` before the host in the part of an address after its scheme.

    Returns:
        The position, -1 if there is no name, None if the address is ambiguous.
    """
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    # A fragment is never sent, so a '#' before an '@' belongs to the password.
    mark = authority.find("#")
    if mark >= 0 and "@" not in rest[mark:]:
        authority = authority[:mark]
    before, at, host = authority.rpartition("@")
    if re.fullmatch(HOST, host):
        return len(before) if at else -1
    places = [place.start() for place in re.finditer("@", rest) if re.match(HOST + _AFTER_HOST, rest[place.end() :])]
    if len(places) > 1:
        return None
    return places[0] if places else -1
