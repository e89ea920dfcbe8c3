"""All charts of a run's report: as pieces of HTML for the page, and as drawings for files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from reports import latencies, overtime
from reports.charts.batches import batch_chart
from reports.charts.distribution import distribution_chart
from reports.charts.drawing import Drawing, as_json, html, select
from reports.charts.effects import effect_chart, importance_chart, modelled
from reports.charts.front import front_chart
from reports.charts.heat_map import heat_chart
from reports.charts.load_curves import load_chart
from reports.charts.over_time import over_time_chart
from reports.charts.predictions import prediction_chart
from reports.charts.stages import stage_chart
from reports.charts.trial_data import knob_names, trial_data
from reports.knob_table import tables
from reports.latencies import Distribution
from reports.overtime import Panel
from reports.packed import packed
from reports.variants import variant_names
from tuner.results import Result


@dataclass(frozen=True)
class Kept:
    """What charts need beside the result: it stands in files of the run.

    Attributes:
        over_time: of the best point.
        latencies: of the best point and the user's.
    """

    over_time: Sequence[Panel] = ()
    latencies: Sequence[Distribution] = ()


def kept(result: Result, run: Path) -> Kept:
    """Return what is in the files of a run directory; what was not kept is left out."""
    return Kept(overtime.panels(result, run), latencies.distributions(result, run))


def drawings(result: Result, files: Kept) -> dict[str, Drawing]:
    """Return the charts that a run has data for, by their names, in the order of the page."""
    measured = tables(result)
    models = modelled(measured)
    made = [
        front_chart(result),
        load_chart(result),
        importance_chart(models),
        effect_chart(models),
        heat_chart(measured, models),
        stage_chart(result),
        batch_chart(result),
        distribution_chart(result, files.latencies),
        over_time_chart(files.over_time),
        prediction_chart(result),
    ]
    return {one.name: one for one in made if one is not None}


def pieces(result: Result, found: Mapping[str, Drawing]) -> dict[str, Markup]:
    """Return the HTML of each of a run's drawings by its name."""
    made = {name: html(one) for name, one in found.items() if name != "front"}
    return {"front": _front(result, found["front"]), **made}


def missing(found: Mapping[str, Drawing]) -> list[str]:
    """Return what is not among a run's drawings and why, as sentences."""
    return [sentence for name, sentence in _WHY.items() if name not in found]


_WHY = {
    "load": "Load curves: no configuration was measured under two loads.",
    "importance": "Effects of the knobs: too few points were measured to tell an effect from noise.",
    "heat": "Heat map: fewer than two knobs changed.",
    "stages": "Where the latency goes: the server does not tell its stages.",
    "batches": "Executed batch sizes: the server does not tell them.",
    "distribution": "Latency distribution: the records of the requests were not kept.",
    "over-time": "Over time: there is no best trial whose records and samples were kept.",
}


def _front(result: Result, drawing: Drawing) -> Markup:
    data = trial_data(result)
    knobs = knob_names(result)
    variants = variant_names(result)
    controls = select("front", "colour", "colour by", ["SLO", *knobs])
    if len(variants) > 1:
        controls += select("front", "variant", "variant", ["all", *variants])
    return html(drawing, controls=controls, after=_COMPARISON.format(data=packed("trial-data", as_json(data))))


_COMPARISON = Markup(
    '<section class="comparison" id="comparison" aria-label="two points side by side">\n'
    '<div class="controls"><label for="compare-left">compare <select id="compare-left"></select></label> '
    '<label for="compare-right">with <select id="compare-right"></select></label></div>\n'
    '<div class="scroll"><table aria-live="polite"></table></div></section>\n'
    "{data}"
)
