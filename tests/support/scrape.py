"""Ask a gateway's metrics listener, as Prometheus does."""

from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What a listener said.

    Attributes:
        types: Kind by the family's name.
    """

    samples: tuple[Sample, ...]
    types: dict[str, str]
    content_type: str

    def value(self, name: str, **labels: str) -> float:
        """The sum of all lines of this name with at least these labels."""
        return sum(
            found.value for found in self.samples if found.name == name and labels.items() <= found.labels.items()
        )

    def labels_of(self, name: str) -> list[dict[str, str]]:
        return [found.labels for found in self.samples if found.name == name]


def scrape(port: int, *, accept: str = OPENMETRICS) -> Scrape:
    """One scrape; text that Prometheus' own parser does not take fails here."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    content_type = answer.headers["content-type"]
    return read(answer.text, content_type)


def read(text: str, content_type: str) -> Scrape:
    parse: Any = read_openmetrics if content_type.startswith("application/openmetrics-text") else read_text
    families = list(parse(text))
    samples = tuple(Sample(line.name, dict(line.labels), line.value) for family in families for line in family.samples)
    return Scrape(samples=samples, types={family.name: family.type for family in families}, content_type=content_type)
