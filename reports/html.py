"""report.html: one self-contained page made of a stored result."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import variants, words
from reports.axes import axes, named
from reports.charts import page, plot
from tuner.catalog import key_of
from tuner.endings import SAID
from tuner.results import ComposingModel, Point, Result
from tuner.units import format_duration

MAX_BATCHES_LISTED = 6
NOTHING_KEPT = page.Kept()
NO_LINE_END = "\\ No newline at end of file"


def render(result: Result, diff: str = "", kept: page.Kept = NOTHING_KEPT) -> str:
    """Return the page.

    Args:
        result: what to show.
        diff: unified diff of the exported configuration against the user's.
        kept: what charts need of the run's other files, see `page.kept`.
    """
    stages = [stage for stage in ("queue", "compute_infer") if any(_has(point, stage) for point in _points(result))]
    across, up = axes(result)
    drawn = page.drawings(result, kept)
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": words.milliseconds,
        "rps": words.per_second,
        "percent": words.percent,
        "load": words.load,
        "duration": words.duration,
    }
    return environment.get_template("report.html.j2").render(
        result=result,
        plotly=Markup(plot.library()),  # noqa: S704 - plotly's own script and ours
        charts=page.pieces(result, drawn),
        not_drawn=page.missing(drawn),
        endings=SAID,
        diff=diff,
        config=lambda values: words.config(values, result.knobs),
        interval=words.interval,
        shown=lambda name, value: words.metric_value(name, value, result.own_metrics),
        key_of=key_of,
        gain_of=words.gain_of,
        only_load=words.only_load(result.knobs),
        bounds=lambda name, estimate: words.metric_interval(name, estimate, result.own_metrics),
        variants=variants.rows(result),
        stages=stages,
        across=across,
        up=up,
        named=named(result),
        verdicts=words.verdicts,
        batches=_batches,
        mean_batch=_mean_batch,
        cached=any(_cache(point) for point in _points(result)),
        cache=_cache,
    )


def _points(result: Result) -> Iterator[Point]:
    return (point for trial in result.trials for point in trial.points)


def _has(point: Point, stage: str) -> bool:
    return point.server is not None and stage in point.server.mean_s


def config_diff(originals: Mapping[Path, str], files: Mapping[Path, str]) -> str:
    """Return the unified diff of exported files against the user's own, as `patch` and `git apply` take it."""
    pieces: list[str] = []
    for path, text in files.items():
        before = originals.get(path)
        pieces += difflib.unified_diff(
            _lines(before or ""), _lines(text), "/dev/null" if before is None else f"yours/{path}", f"best/{path}"
        )
    return "".join(piece if piece.endswith("\n") else f"{piece}\n{NO_LINE_END}\n" for piece in pieces)


def _lines(text: str) -> list[str]:
    """Return the lines of a text with their ends; only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _batches(point: Point) -> str:
    """Return the executed batch sizes that took most requests: `16: 92%, 1: 3%`; of an ensemble those of its parts."""
    if point.server is None or not point.server.requests:
        return ""
    if point.server.composing:
        return "; ".join(_composing(name, model) for name, model in point.server.composing.items())
    total = sum(batch.size * batch.count for batch in point.server.batch_sizes)
    largest = sorted(point.server.batch_sizes, key=lambda batch: -batch.size * batch.count)[:MAX_BATCHES_LISTED]
    return ", ".join(f"{batch.size}: {batch.size * batch.count / total:.0%}" for batch in largest)


def _composing(name: str, model: ComposingModel) -> str:
    """Return where the time goes in a composing model: `classify: queue 6.01 ms, compute 4.36 ms, batch 1.5`."""
    times = ((word, model.mean_s.get(key, 0.0)) for word, key in (("queue", "queue"), ("compute", "compute_infer")))
    batch = f", batch {model.requests / model.executions:.1f}" if model.executions else ""
    return f"{name}: {', '.join(f'{word} {words.milliseconds(mean_s)}' for word, mean_s in times)}{batch}"


def _cache(point: Point) -> str:
    """Return what the server's cache did: `30.1% hits, 11 us each; a miss 25 us more`, "" where it has none."""
    cache = point.server.cache if point.server else None
    if cache is None:
        return ""
    share = words.percent(cache.hits / (cache.hits + cache.misses), 1)
    hit = "" if cache.hit_mean_s is None else f", {format_duration(cache.hit_mean_s)} each"
    miss = "" if cache.miss_mean_s is None else f"; a miss {format_duration(cache.miss_mean_s)} more"
    return f"{share} hits{hit}{miss}"


def _mean_batch(point: Point) -> str:
    server = point.server
    return f"{server.requests / server.executions:.1f}" if server and server.executions else ""
