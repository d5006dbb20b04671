"""Taking a user's token out of what a server says.

Rules: servers echo what they were sent, in error texts above all, and often shortened; so every run of twelve or more
of the token's own characters goes, not only the whole. What a server disguises (base64, reversed, letter by letter) is
beyond this: such a server has the token and can send it anywhere. Pure.
"""

from collections.abc import Iterator
from typing import Any

REMOVED = "[removed]"
# Characters in a row that are the token's. Twelve of a random token are 72 bits: no text has them by chance, and
# fewer of them help nobody.
FRAGMENT = 12
STEP = FRAGMENT // 2


class Scrubber:
    """Removes one token; ``None`` removes nothing."""

    def __init__(self, token: str | None) -> None:
        self._token = token or ""
        self._places: dict[str, list[int]] = {}
        for place in range(len(self._token) - STEP + 1):
            self._places.setdefault(self._token[place : place + STEP], []).append(place)

    def __repr__(self) -> str:
        return "<Scrubber>"

    def text(self, text: str) -> str:
        if not self._token:
            return text
        if len(self._token) < FRAGMENT:
            return text.replace(self._token, REMOVED)
        kept: list[str] = []
        end = 0
        for start, stop in self._runs(text):
            kept += [text[end:start], REMOVED]
            end = stop
        return "".join([*kept, text[end:]])

    def value(self, value: Any) -> Any:
        """The same for every text in a JSON value, names included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(member) for member in value]
        return value

    def _runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the token's characters stand. A run of FRAGMENT holds a whole step wherever it begins, so a look at
        every STEP-th place finds it."""
        place = 0
        done = 0
        while place <= len(text) - STEP:
            start, stop = self._widest(text, place, done)
            if stop - start < FRAGMENT:
                place += STEP
                continue
            yield start, stop
            # The next look is where it ended, not a step on: two echoes may touch.
            place = done = stop

    def _widest(self, text: str, place: int, done: int) -> tuple[int, int]:
        """The longest run around one step, in text not yet looked at."""
        widest = (place, place)
        for origin in self._places.get(text[place : place + STEP], []):
            start, first = place, origin
            while start > done and first > 0 and text[start - 1] == self._token[first - 1]:
                start, first = start - 1, first - 1
            stop, last = place + STEP, origin + STEP
            while stop < len(text) and last < len(self._token) and text[stop] == self._token[last]:
                stop, last = stop + 1, last + 1
            widest = max(widest, (start, stop), key=lambda run: run[1] - run[0])
        return widest
