"""File names: a user's words, cleaned for show; never part of a path of ours."""

from urllib.parse import quote

# Characters. The longest name that common file systems take.
MAX_NAME = 255
FALLBACK = "attachment"


def clean_name(name: str) -> str:
    """The last part of whatever path it is, without control characters and half surrogates, not too long."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    text = "".join(char for char in last.encode("utf-8", "ignore").decode() if char.isprintable())
    return shorten(text.strip(" .")) or FALLBACK


def shorten(name: str) -> str:
    """To `MAX_NAME`, keeping the ending, which says what it is."""
    if len(name) <= MAX_NAME:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 16:
        return name[:MAX_NAME]
    return stem[: MAX_NAME - len(ending) - 1] + dot + ending


def as_download(name: str) -> str:
    """``Content-Disposition`` that saves and never shows. RFC 6266 section 4.3 and appendix D, RFC 8187."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
