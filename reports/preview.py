"""The preview of workloads, as text in the terminal and as a self-contained page."""

from collections.abc import Sequence

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from reports.charts import plain, plot
from reports.charts.drawing import Drawing, html
from tuner.preview import LONG_S, MIDDLE_S, SHORT_S, Preview
from tuner.units import format_duration, format_number

BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = 72
BINS = 40
PAGE_BINS = 200


def figures(one: Preview) -> list[tuple[str, str]]:
    """Return what is known of a workload's traffic: (name, value with its unit)."""
    found = [("arrival", one.arrival)]
    if len(one.offsets_s):
        found += [
            ("time", f"{format_number(one.duration_s)} s, {len(one.offsets_s):,} requests"),
            ("mean rate", _rate(one.mean_rate_rps)),
            *(
                (f"peak rate in {format_duration(window_s)}", _rate(one.peak_rate_rps(window_s)))
                for window_s in (SHORT_S, MIDDLE_S, LONG_S)
                if window_s <= one.duration_s
            ),
            ("CV of the gaps", f"{one.cv:.3g}"),
            *(
                (f"index of dispersion in {format_duration(window_s)}", f"{one.dispersion(window_s):.3g}")
                for window_s in (SHORT_S, MIDDLE_S, LONG_S)
                if 2 * window_s <= one.duration_s
            ),
        ]
    if len(one.requests) or one.sizes:
        found.append(("distinct requests", f"{one.distinct:,}"))
    if len(one.offsets_s):
        found.append(("sent before", f"{one.repeated:.1%}"))
    for name, sizes in one.sizes.items():
        low, middle, high = np.quantile(sizes, [0, 0.5, 1])
        found.append((name, f"{low:,.0f} to {high:,.0f}, median {middle:,.0f}, mean {sizes.mean():,.1f}"))
    return [*found, *(("note", note) for note in one.notes)]


def _rate(rate_rps: float) -> str:
    return f"{format_number(rate_rps)}/s"


def picture(previews: Sequence[Preview]) -> RenderableType:
    """Return workloads as text."""
    return Group(*(part for one in previews for part in _section(one)))


def _section(one: Preview) -> list[Text]:
    lines = [Text(one.workload, style="bold")]
    rows = figures(one)
    width = max(len(name) for name, _ in rows)
    lines += [Text(f"  {name:{width}}  {value}") for name, value in rows]
    if len(one.offsets_s):
        _, rates = one.rates_rps(COLUMNS)
        lines += [
            Text(f"  requests over time, up to {_rate(rates.max())}"),
            Text(f"  {bars(rates)}"),
            Text(f"  0 s{format_duration(one.duration_s):>{COLUMNS - 3}}"),
        ]
    if len(one.gaps_s):
        lines += _histogram("gaps", one.gaps_s * 1e3, "ms")
    for name in one.sizes if len(one.requests) else ():
        lines += _histogram(name, one.sent(name).astype(float), "")
    return [*lines, Text("")]


def _histogram(name: str, values: NDArray[np.float64], unit: str) -> list[Text]:
    """Return a histogram up to the 99th percentile."""
    top = float(np.quantile(values, 0.99)) or float(values.max()) or 1.0
    counts, _ = np.histogram(values, COLUMNS, (0.0, top))
    end = f"{format_number(top)} {unit}".strip()
    return [
        Text(f"  {name}, up to the 99th percentile"),
        Text(f"  {bars(counts.astype(float))}"),
        Text(f"  0{end:>{COLUMNS - 1}}"),
    ]


def bars(heights: NDArray[np.float64]) -> str:
    """Return a bar of text for each height; what is above 0 is seen."""
    most = heights.max() or 1.0
    steps = np.ceil(heights / most * (len(BARS) - 1)).astype(int)
    return "".join(BARS[step] for step in steps)


def page(study: str, previews: Sequence[Preview]) -> str:
    """Return workloads as a page."""
    environment = Environment(loader=PackageLoader("reports"), autoescape=True, undefined=StrictUndefined)
    sections = [
        {"name": one.workload, "figures": figures(one), "charts": [html(chart) for chart in _charts(one)]}
        for one in previews
    ]
    return environment.get_template("preview.html.j2").render(
        study=study,
        sections=sections,
        plotly=Markup(plot.library()),  # noqa: S704 - plotly's own script and ours
    )


def _charts(one: Preview) -> list[Drawing]:
    found = []
    if len(one.offsets_s):
        middles, rates = one.rates_rps(PAGE_BINS)
        found.append(plain.line_chart(f"{one.workload}-time", middles, rates, "time, s", "requests per second"))
    if len(one.gaps_s):
        found.append(_histogram_chart(f"{one.workload}-gaps", one.gaps_s * 1e3, "gap between requests, ms"))
    return found + [
        _histogram_chart(f"{one.workload}-{number}", one.sent(name).astype(float), name)
        for number, name in enumerate(one.sizes if len(one.requests) else ())
    ]


def _histogram_chart(name: str, values: NDArray[np.float64], title: str) -> Drawing:
    top = float(np.quantile(values, 0.999)) or float(values.max()) or 1.0
    counts, edges = np.histogram(values, BINS, (0.0, top))
    return plain.bar_chart(name, (edges[1:] + edges[:-1]) / 2, counts / max(1, len(values)), title, "share of requests")
