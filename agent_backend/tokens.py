"""How much of a model's window a text takes, guessed high and without asking anybody.

Rules: pure; no vocabulary is loaded: the real ones are a download of megabytes, differ from model to model, and a
budget needs an upper bound and not a count. A text is a third of its bytes in UTF-8: English has some 4.5 bytes to a
token, German 3.5, Chinese 3; only long numbers and random letters have fewer, so leave a reserve when you set a budget.
A picture or a file is guessed from its size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

BYTES_PER_TOKEN = 3
# Tokens around each message: its role and its ends.
OVERHEAD = 4
# Tokens of a picture in full detail; the largest in OpenAI's table is 1,445 (GPT-4o, 2048 × 2048, high).
IMAGE_TOKENS = 1500
# Bytes of base64 to a token of a document: a scanned page is some 50 KB and is read as a picture, 1,500 tokens.
FILE_BYTES_PER_TOKEN = 30

CUT = "\n[… {} characters left out …]\n"


def estimate(part: Any) -> int:
    """Tokens of one input item, or of anything in it."""
    if isinstance(part, str):
        return -(-len(part.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
    if isinstance(part, Mapping):
        match part.get("type"):
            case "input_image":
                return IMAGE_TOKENS
            case "input_file":
                return len(str(part.get("file_data", ""))) // FILE_BYTES_PER_TOKEN + OVERHEAD
            case _:
                return OVERHEAD + sum(estimate(value) for name, value in part.items() if name not in ("type", "role"))
    if isinstance(part, Sequence):
        return sum(map(estimate, part))
    return 1


def cut_middle(text: str, limit: int) -> str:
    """At most ``limit`` characters of it and a note: what it begins with and how it ends say most."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}{CUT.format(len(text) - limit)}{text[len(text) - (limit - head) :]}"


def cut_to(part: Any, limit: int) -> Any:
    """An input item with its texts cut so that it takes about ``limit`` tokens; pictures and files stay whole.

    Source: one character is one byte or more, so characters = tokens × bytes per token is never too few to cut to;
    for scripts of several bytes the share is taken by bytes.
    """
    texts = sum(len(text.encode("utf-8", "replace")) for text in texts_of(part))
    left = max(limit - (estimate(part) - -(-texts // BYTES_PER_TOKEN)), 1) * BYTES_PER_TOKEN
    return part if texts <= left else with_texts(part, share=left / texts)


def texts_of(part: Any) -> list[str]:
    """What may be cut: the words of a message, the output of a tool. Its arguments are JSON and stay whole."""
    found: list[str] = []
    for name in ("content", "output", "text"):
        value = part.get(name) if isinstance(part, Mapping) else None
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Sequence):
            found += [text for entry in value for text in texts_of(entry)]
    return found


def with_texts(part: Any, *, share: float) -> Any:
    if isinstance(part, str):
        return cut_middle(part, int(len(part) * share))
    if isinstance(part, Mapping):
        changed = {name: part[name] for name in ("content", "output", "text") if name in part}
        return {**part, **{name: with_texts(value, share=share) for name, value in changed.items()}}
    if isinstance(part, Sequence):
        return [with_texts(entry, share=share) for entry in part]
    return part
