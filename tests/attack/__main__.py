"""``python -m tests.attack``: every row against the running gateway, as a table. Exit code 1 when one did not hold.

Words after the command pick the rows whose name, threat or section contains one of them.
"""

import sys
import time

from tests.attack.row import Attack
from tests.attack.rows import SECTIONS
from tests.attack.world import World, build_world

# Characters of a row's name and of its required result before they are cut.
NAME, WANTED = 66, 40


def main(words: list[str]) -> int:
    begun = time.monotonic()
    held, failed = 0, []
    with build_world() as world:
        for section, rows in SECTIONS.items():
            chosen = [row for row in rows if _is_meant(section, row, words)]
            if chosen:
                print(f"\n{section}\n{'row':{NAME}} | {'expected':{WANTED}} | seen")
            for row in chosen:
                holds, seen = attempt(world, row)
                print(_line(row, holds, seen), flush=True)
                if holds:
                    held += 1
                else:
                    failed.append((section, row, seen))
    for section, row, seen in failed:
        print(f"\nFAILED {section}: {row.name}\n  threat:   {row.threat}\n  expected: {row.wanted}\n  seen:     {seen}")
    print(f"\n{time.monotonic() - begun:.0f} s")
    print(f"{held} rows held, {len(failed)} failed")
    return 1 if failed else 0


def attempt(world: World, row: Attack) -> tuple[bool, str]:
    """Whether it held, and what was seen. An attack that crashes has not held either."""
    try:
        return True, row.run(world)
    except AssertionError as exc:
        return False, str(exc) or "an assertion without words"
    except Exception as exc:
        return False, f"{type(exc).__name__}: {exc}"


def _is_meant(section: str, row: Attack, words: list[str]) -> bool:
    text = f"{section} {row.name} {row.threat}".lower()
    return not words or any(word.lower() in text for word in words)


def _line(row: Attack, holds: bool, seen: str) -> str:
    name = f"{row.name}{' (own)' if row.own else ''}"
    mark = "" if holds else "FAILED: "
    return f"{name[:NAME]:{NAME}} | {row.wanted[:WANTED]:{WANTED}} | {mark}{seen.splitlines()[0][:120]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
