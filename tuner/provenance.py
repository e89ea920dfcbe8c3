"""Where an exported file comes from, in a comment at its head; a later export puts its own in its place."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from targets.exports import Export
from tuner.catalog import METRICS
from tuner.results import Best

MARK = "# paretune: "
_HEADER = re.compile(rf"(?:{re.escape(MARK)}[^\n]*(?:\n|\Z))+")
_FIRST_LINE = re.compile(r"#![^\n]*\n")


def header(study: str, run: str, environment: Mapping[str, str], trial: int, best: Best | None) -> tuple[str, ...]:
    """Return the lines of the comment, without the mark.

    Args:
        study: its name.
        run: name of the run's directory.
        environment: of the run.
        trial: whose configuration is exported.
        best: the recommended configuration of the run, where there is one.
    """
    version, started = environment.get("paretune", "unknown"), environment.get("started", "an unknown time")
    measured = "measured in the search, not confirmed"
    if best is not None and best.trial == trial and best.confirmed:
        measured = _confirmed(best)
    return (
        f"study {_line(study)}, trial {trial}, tuned with Paretune {version}",
        f"run {_line(run)}, started {started}",
        measured,
    )


def _confirmed(best: Best) -> str:
    gain = best.gain_vs_baseline
    if gain is None:
        return "confirmed to meet the SLO; no gain is claimed"
    high = f"{gain.high:.2f}" if math.isfinite(gain.high) else "unknown"
    name = next((name for name, metric in METRICS.items() if metric.key == best.objective), best.objective)
    return (
        f"confirmed: {name} {gain.value:.2f}x that of the configuration before, 95% interval {gain.low:.2f} to {high}"
    )


def with_header(text: str, lines: tuple[str, ...]) -> str:
    """Return a text with a comment at its head, in place of one that an earlier export wrote.

    The comment stands behind a first line that names an interpreter. Without lines an earlier one is taken away.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    before, _, rest = _parts(text)
    return before + "".join(f"{MARK}{line}{newline}" for line in lines) + rest


def without_header(text: str) -> str:
    """Return a text without the comment of an export."""
    return with_header(text, ())


def headed_as(text: str, other: str) -> str:
    """Return a text with the comment that an export wrote into another one; without any where that has none."""
    before, _, rest = _parts(text)
    return before + _parts(other)[1] + rest


def _parts(text: str) -> tuple[str, str, str]:
    """Return what stands before the comment of an export, the comment, and the rest."""
    first = _FIRST_LINE.match(text)
    start = first.end() if first else 0
    there = _HEADER.match(text, start)
    end = there.end() if there else start
    return text[:start], text[start:end], text[end:]


def signed(
    export: Export, study: str, run: str, environment: Mapping[str, str], trial: int, best: Best | None
) -> Export:
    """Return an export that says where it comes from, in every file that can have a comment.

    Trial 0 is the user's own configuration, in which nothing was tuned: it stays as it is. See `header` for the rest.
    """
    return marked(export, header(study, run, environment, trial, best)) if trial else export


def marked(export: Export, lines: tuple[str, ...]) -> Export:
    """Return an export with the comment in every file that can have one."""
    files = {
        path: with_header(text, lines) if path in export.commented else text for path, text in export.files.items()
    }
    return replace(export, files=files)


def _line(text: str) -> str:
    return " ".join(text.split())
