"""The README's table of all metrics, made from the catalogue: ``python -m gateway.metrics.reference`` prints it.

Knows nothing of the README; a test holds the two together.
"""

from gateway.metrics.catalogue import METRICS, Metric


def render_reference() -> str:
    """Markdown: a row for each metric."""
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *map(_row, METRICS)])


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    print(render_reference())
