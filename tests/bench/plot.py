"""The picture in the README: latency added per event, throughput, memory per open stream.

Needs matplotlib, which nothing else here does. Transparent, in tones that show on white and on black.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.errors import NoPicture
from tests.bench.results import Figures

OURS, OTHERS, TEXT = "#2f81f7", "#8b949e", "#7d8590"
# From bottom to top.
ORDER = ("haproxy", "nginx", "gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure of each subject."""

    title: str
    unit: str
    bars: Mapping[str, float]


def draw(figures: Figures, path: Path) -> None:
    """Draw what was measured; the suffix of ``path`` decides the format.

    Raises:
        NoPicture: There is no matplotlib, or nothing to show.
    """
    panels = [panel for panel in build_panels(figures) if panel.bars]
    if not panels:
        raise NoPicture("no picture: nothing in it was measured")
    pyplot = _import_pyplot()
    fonts = {"font.size": 9, "font.family": "sans-serif", "svg.fonttype": "none"}
    with pyplot.rc_context({**fonts, "svg.hashsalt": "bench", "text.color": TEXT, "ytick.color": TEXT}):
        picture, axes = pyplot.subplots(1, len(panels), figsize=(3 * len(panels), 1.7), squeeze=False)
        for axis, panel in zip(axes[0], panels, strict=True):
            _draw_panel(axis, panel)
        picture.tight_layout(w_pad=2)
        # Without the date: the same figures give the same file.
        picture.savefig(path, transparent=True, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(picture)


def build_panels(figures: Figures) -> tuple[Panel, ...]:
    """What the picture shows, left to right."""
    latencies = _bars(figures, "streams-100", "p50")
    direct = figures.get(("streams-100", "direct", "p50"))
    return (
        Panel(
            title="latency added to an event, p50\n100 streams, 5,000 events/s",
            unit="µs",
            bars={name: max(value - direct, 0.0) for name, value in latencies.items()} if direct else {},
        ),
        Panel(
            title="JSON requests per second\n64 connections, one core",
            unit="",
            bars=_bars(figures, "json-64", "rate"),
        ),
        Panel(
            title="memory per open stream\n5,000 streams",
            unit="KiB",
            bars=_bars(figures, "open-5000", "memory"),
        ),
    )


def _bars(figures: Figures, scenario: str, name: str) -> Mapping[str, float]:
    return {subject: value for subject in ORDER if (value := figures.get((scenario, subject, name))) is not None}


def _import_pyplot() -> Any:
    """By name, so that types are checked alike whether it is installed or not."""
    try:
        importlib.import_module("matplotlib").use("agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as exc:
        raise NoPicture("no picture: matplotlib is not installed; `make bench` installs it") from exc


def _draw_panel(axis: Any, panel: Panel) -> None:
    names, values = list(panel.bars), list(panel.bars.values())
    bars = axis.barh(names, values, height=0.62, color=[OURS if name == "gateway" else OTHERS for name in names])
    axis.bar_label(bars, [_label(value, panel.unit) for value in values], padding=3)
    axis.set_title(panel.title, loc="left", fontsize=9)
    axis.set_xlim(0, max(values) * 1.35)  # room for the label of the longest
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _label(value: float, unit: str) -> str:
    return f"{value:,.{0 if value >= 100 else 1}f} {unit}".rstrip()
