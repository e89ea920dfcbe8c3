"""Knobs as rows: what a server is too old for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from targets.base import Knob
from tuner.knob_rows import Listed, of_study, shown

KNOB = Knob("warmup_count", "int", 1, 8, 1, "", "reload", "how often it is sent")


@pytest.mark.parametrize(
    ("server", "since", "too_old"),
    [
        ("2.10.0", "2.24", True),
        ("2.9.0", "2.10", True),
        ("2.24.0", "2.24", False),
        ("2.51.0", "2.24", False),
        ("3.0.0", "2.24", False),
        ("2.10.0", "2.15 or before", None),
        ("2.10.0", "", None),
        ("", "2.24", None),
    ],
)
def test_a_server_is_too_old_for_what_a_later_version_brought(server: str, since: str, too_old: bool | None) -> None:
    listed = Listed(replace(KNOB, since=since), {}, server)
    assert listed.too_old is too_old
    document = listed.document()
    assert (document["server"], document["too_old"]) == (server or None, too_old)
    (row,) = shown([listed])
    assert row["legal"] == (f"not here: the server is {server}, and {since} brought it" if too_old else "1 to 8")


def test_a_server_that_does_not_answer_is_compared_with_nothing_and_the_reason_said(
    small_study: Callable[..., Path],
) -> None:
    target = {"kind": "triton", "model": "digits", "repository": "models", "launch": "remote"}
    listed, compared = of_study("triton", small_study(target={**target, "url": "http://127.0.0.1:1"}))
    assert {one.too_old for one in listed} == {None}
    assert compared.startswith("the versions are compared with no server's: ")
    assert "127.0.0.1:1" in compared
