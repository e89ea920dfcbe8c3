"""Looking on at records that are still being written."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from targets.base import Outcome
from tuner.live_rows import LiveRows
from tuner.records import RecordsWriter

AGES_S = [3.0, 2.0, 1.0]


@pytest.mark.parametrize(("newest_s", "visible"), [(0.5, 4), (-60.0, 3)])
def test_the_newest_row_is_left_out_only_while_it_may_still_be_written(
    newest_s: float, visible: int, tmp_path: Path
) -> None:
    """One that ended in the future stands for one that has just ended, however slow the test is."""
    with closing(LiveRows()) as live:
        writer = RecordsWriter(tmp_path / "records.bin", shared=live.fd)
        done = [time.monotonic_ns() - round(age_s * 1e9) for age_s in (*AGES_S, newest_s)]
        for at in done:
            writer.append((at - 5, at - 4, at - 3, at - 2, at), (1, 1), 0, 200, Outcome.OK)
        assert live.read()["done_ns"].tolist() == done[:visible]


def test_nothing_is_seen_before_anything_was_written() -> None:
    with closing(LiveRows()) as live:
        assert len(live.read()) == 0
