"""What a benchmark of several sections found: lines of a table and bars, kept as each section ends."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Round
from tables import machine, markdown

COLUMNS = ["server", "generator", "load", "req/s", "p50, ms", "p99, ms", "CPU/request, us", "RSS, MiB", "rounds"]


@dataclass
class Results:
    """What a section measured.

    Attributes:
        rows: lines of the table, by column.
        bars: what, measured, bar, and whether it is met.
        missing: peers that are not installed.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def bar(self, what: str, shown: object, bar: str, met: bool) -> None:
        """Keep a bar and say it."""
        self.bars.append({"what": what, "measured": str(shown), "bar": bar, "met": bool(met)})
        print(f"  {'met   ' if met else 'MISSED'} {what}: {shown}, bar {bar}", flush=True)

    def row(self, server: str, generator: str, load: str, rounds: Sequence[Round]) -> None:
        """Keep the medians of some rounds and say them."""
        middle = {name: float(np.median([getattr(one, name) for one in rounds])) for name in asdict(rounds[0])}
        self.rows.append({"server": server, "generator": generator, "load": load, "rounds": len(rounds), **middle})
        print(
            f"  {server:7} {generator:20} {load:14} {middle['rps']:9,.0f}/s  p50 {middle['p50_s'] * 1e3:7.2f} ms  "
            f"p99 {middle['p99_s'] * 1e3:7.2f} ms  {middle['cpu_s'] * 1e6:6.1f} us CPU/request  "
            f"{middle['rss_bytes'] / 2**20:5.0f} MiB  ({len(rounds)} rounds)",
            flush=True,
        )

    def miss(self, peer: str) -> None:
        """Take note of a peer that is not installed."""
        if peer not in self.missing:
            print(f"  missing: {peer}", flush=True)
            self.missing.append(peer)


def stored(path: Path | None) -> dict[str, Results]:
    """Return the sections that an earlier run kept, by name; none without a file."""
    if path is None or not path.exists():
        return {}
    sections = json.loads(path.read_text())["sections"]
    return {name: Results(**section) for name, section in sections.items()}


def store(path: Path | None, benchmark: str, sections: Mapping[str, Results]) -> None:
    """Write what was found, if a path is given."""
    if path is not None:
        document = {
            "benchmark": benchmark,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": machine(),
            "sections": {name: asdict(section) for name, section in sections.items()},
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


def page(sections: Mapping[str, Results]) -> str:
    """Return the tables of the documentation: bars, then what was measured."""
    bars = [bar for section in sections.values() for bar in section.bars]
    verdicts = [(bar["what"], bar["measured"], bar["bar"], "yes" if bar["met"] else "**no**") for bar in bars]
    rows = [_cells(row) for section in sections.values() for row in section.rows]
    missing = sorted({peer for section in sections.values() for peer in section.missing})
    note = f"\n\nMissing peers: {', '.join(missing)}." if missing else ""
    return (
        f"{markdown(['what', 'measured', 'bar', 'met'], verdicts)}\n\nMedians of the rounds; the ratios above are of "
        f"pairs of rounds.\n\n{markdown(COLUMNS, rows)}{note}"
    )


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        row["server"],
        row["generator"],
        row["load"],
        f"{row['rps']:,.0f}",
        f"{row['p50_s'] * 1e3:.2f}",
        f"{row['p99_s'] * 1e3:.2f}",
        f"{row['cpu_s'] * 1e6:.1f}",
        f"{row['rss_bytes'] / 2**20:.0f}",
        row["rounds"],
    )
