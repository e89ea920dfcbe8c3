"""The history of what was accepted, as a self-contained page and as a table."""

from collections.abc import Sequence

from markupsafe import Markup
from rich import box
from rich.table import Table

from reports.gate import drawing
from reports.gate.page import environment
from reports.gate.rows import name_of, value
from tuner.gate.history import Course
from tuner.gate.steps import SIGNIFICANCE


def render(title: str, courses: Sequence[Course]) -> str:
    """Return the page: a chart of each figure, with its steps.

    Args:
        title: what it is the history of.
        courses: of every figure.
    """
    return (
        environment()
        .get_template("gate_history.html.j2")
        .render(
            title=title,
            significance=f"{SIGNIFICANCE:.0%}",
            charts=[(_heading(one), Markup(_chart(one)), _steps(one)) for one in courses],  # noqa: S704 - escaped in it
            steps=[(_heading(one), said) for one in courses for said in _steps(one)],
        )
    )


def table(courses: Sequence[Course]) -> Table:
    """Return a row for each figure: its latest value, and the latest step in it."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("figure", "accepted", "first", "latest", "steps"):
        made.add_column(name, justify="left" if name in ("figure", "steps") else "right", overflow="fold")
    for one in courses:
        first, latest = (value(one.key, one.values[index]) for index in (0, -1))
        made.add_row(_heading(one), str(len(one.values)), first, latest, "; ".join(_steps(one)))
    return made


def _heading(one: Course) -> str:
    apart = f" ({one.apart})" if one.apart else ""
    return f"{one.place.study}, {one.place.workload}: {name_of(one.key)}{apart}"


def _steps(one: Course) -> list[str]:
    said = "{:+.2f} points" if one.in_points else "{:+.1f}%"
    return [
        f"{said.format(change * 100)} at {one.names[at]} ({one.whens[at]})"
        for at, change in zip(one.steps, one.changes(), strict=True)
    ]


def _chart(one: Course) -> str:
    said = [
        f"{name}, {when}: {value(one.key, number)}"
        for name, when, number in zip(one.names, one.whens, one.values, strict=True)
    ]
    points = [(float(index), number) for index, number in enumerate(one.values)]
    levels = [
        drawing.Series("level" if start == 0 else "", drawing.STEP, [(float(start), level), (float(end - 1), level)])
        for start, end, level in one.levels()
    ]
    return drawing.chart(
        _heading(one),
        [drawing.Series("accepted", drawing.OLD, points, said), *levels],
        x=lambda at: one.names[round(at)],
        y=lambda number: value(one.key, number),
        from_zero=one.key == "error_rate",
        ticks_x=sorted({round(quarter * (len(points) - 1) / 4) for quarter in range(5)}),
    )
