"""What every benchmark may be told on its command line."""

import argparse
from pathlib import Path


def parse(doc: str | None, rounds: int | None, what: str, page: str = "docs/benchmarks.md") -> argparse.Namespace:
    """Return `rounds`, `json` and `docs` as they were given.

    Args:
        doc: the script's docstring, shown by --help.
        rounds: default of --rounds.
        what: rounds are of.
        page: where --docs writes.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "" if rounds is None else f" (default: {rounds})"
    parser.add_argument("--rounds", type=int, default=rounds, help=f"{what}{default}")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the numbers there too")
    parser.add_argument("--docs", action="store_true", help=f"write what was found into {page}")
    return parser.parse_args()
