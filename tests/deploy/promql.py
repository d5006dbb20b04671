"""Which metrics, labels and values does a PromQL query name? As much of the language as that takes.

Every name that is no function, keyword or label of a `by (…)` is a metric; what stands in its braces are matchers.
Source: the Prometheus documentation, sections on the basics of querying and on operators.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*|\[[^\]]*\])
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?:ms|[smhdwy])?)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){},@])""",
    re.VERBOSE,
)

_AGGREGATIONS = frozenset({"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "stddev", "group"})
_FOLLOWED_BY_LABELS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_KEYWORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector."""

    label: str
    sign: str
    value: str

    @property
    def alternatives(self) -> list[str]:
        """The values that it names, if it is one, or a plain choice of several."""
        return self.value.split("|") if self.sign in ("=~", "!~") else [self.value]


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What a query names.

    Attributes:
        labels: Those that it groups or joins by.
    """

    selectors: tuple[Selector, ...]
    labels: frozenset[str]


def read_query(text: str) -> Query:
    """Raises ValueError for what is no token, or a brace or parenthesis that nothing closes."""
    tokens = list(_tokens(text))
    if tokens.count("(") != tokens.count(")"):
        raise ValueError(f"parentheses do not match: {text}")
    selectors: list[Selector] = []
    labels: set[str] = set()
    at = 0
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if not _is_name(token) or token.lower() in _KEYWORDS:
            continue
        if token.lower() in _FOLLOWED_BY_LABELS:
            if following == "(":
                end = tokens.index(")", at)
                labels.update(tokens[at + 1 : end : 2])
                at = end
        elif following == "{":
            end = tokens.index("}", at)
            selectors.append(Selector(token, tuple(_matchers(tokens[at + 1 : end]))))
            at = end
        elif following != "(" and token not in _AGGREGATIONS:
            selectors.append(Selector(token))
    return Query(tuple(selectors), frozenset(labels))


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not PromQL from here: {text[at : at + 40]!r}")
        at = match.end()
        if match.lastgroup != "skip":
            yield match[0]


def _is_name(token: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_:][\w:]*", token))


def _matchers(tokens: Sequence[str]) -> Iterator[Matcher]:
    for at in range(0, len(tokens), 4):
        label, sign, value = tokens[at : at + 3]
        yield Matcher(label, sign, value[1:-1])
