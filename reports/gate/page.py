"""What a gate found, as a self-contained page: verdicts, and both latency distributions overlaid."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.gate import drawing
from reports.gate.rows import HEADINGS, headline, how, rows
from tuner.gate.document import GateResult, Measurement


def environment() -> Environment:
    """Return what renders the pages of the gate."""
    return Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(result: GateResult) -> str:
    """Return the page."""
    return (
        environment()
        .get_template("gate.html.j2")
        .render(
            result=result,
            headline=headline(result),
            how=how(result),
            headings=HEADINGS,
            rules=rows(result.rules),
            figures=rows(result.figures),
            charts=[(name, Markup(chart)) for name, chart in _overlays(result)],  # noqa: S704 - texts are escaped in it
            hosts=_beside(result.old, result.new),
        )
    )


def _overlays(result: GateResult) -> list[tuple[str, str]]:
    found = []
    for name, now in result.new.workloads.items():
        before = result.old.workloads.get(name) if result.old else None
        label = f"latency of {name}, old and new overlaid"
        found.append((name, drawing.overlay(before, now, label)))
    return found


def _beside(old: Measurement | None, new: Measurement) -> list[tuple[str, str, str]]:
    """Return what belongs beside the figures: (name, of old, of new)."""
    one = {**old.environment, **old.host} if old else {}
    two = {**new.environment, **new.host}
    return [(name, one.get(name, ""), two.get(name, "")) for name in dict.fromkeys([*two, *one])]
