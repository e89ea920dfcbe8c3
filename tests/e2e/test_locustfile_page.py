"""docs/locustfile.md: its server, its locustfile and its study, with searched users, lead to an answer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import DOCS, follow, make_commands

pytestmark = pytest.mark.long

HASTE = {
    "between(0.01, 0.05)": "between(0.001, 0.005)",
    "    @task\n    def look_around": "    def look_around",
    'name="/search")\n': 'name="/search")\n        self.look_around()\n',
}
"""Users that hardly wait and ask for both in turn: so short windows on a busy machine have requests of both names."""


@dataclass(frozen=True)
class Followed:
    """What the page's command printed, and the run that it left."""

    printed: str
    run: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = tmp_path_factory.mktemp("shop")
    assert all(word in (DOCS / "locustfile.md").read_text() for word in HASTE)
    (printed,) = follow(DOCS / "locustfile.md", folder, make_commands(folder / "bin"), HASTE)
    run = folder / "runs" / "shop" / "latest"
    return Followed(printed, run, json.loads((run / "result.json").read_text()))


def test_users_are_searched_and_there_is_an_answer(followed: Followed) -> None:
    baseline, *tried = followed.result["trials"]
    assert {point["load"]["level"] for point in baseline["points"]} == {2, 4}
    assert tried
    best = followed.result["best"]
    assert best["load"]["mode"] == "users"
    assert best["load"]["level"] in (2, 4)
    assert "users" in followed.printed
    assert (followed.run / "locust.log").is_file()
    assert "users" in (followed.run / "report.html").read_text()


def test_every_point_of_all_requests_has_one_of_each_class(followed: Followed) -> None:
    searches = 0
    for trial in followed.result["trials"]:
        assert trial["state"] == "complete", trial["reason"]
        for level in {point["load"]["level"] for point in trial["points"]}:
            by_name = {one["workload"]: one for one in trial["points"] if one["load"]["level"] == level}
            assert list(by_name) == ["shop", "shop.search", "shop.page", "shop.other"]
            counts = {name: sum(point["outcomes"].values()) for name, point in by_name.items()}
            assert counts["shop"] == counts["shop.search"] + counts["shop.page"] > 0
            assert counts["shop.other"] == 0
            searches += counts["shop.search"]
    assert searches > 0


def test_each_name_of_the_locustfile_has_results_of_its_own(followed: Followed) -> None:
    seen: set[tuple[str, str]] = set()
    for trial in followed.result["trials"]:
        for point in trial["points"]:
            told = {(one["method"], one["name"]): one["requests"] for one in point["named"]}
            if point["workload"] != "shop":
                assert told == {}
                continue
            assert sum(told.values()) == sum(point["outcomes"].values())
            seen |= told.keys()
    assert seen == {("GET", "/search"), ("GET", "/page")}, "one window may have had none of the rarer"
    assert "Requests by name" in (followed.run / "report.html").read_text()


def test_the_generator_says_what_it_used(followed: Followed) -> None:
    shares = [point["generator"]["cpu_share"] for trial in followed.result["trials"] for point in trial["points"]]
    assert all(0 < share < 2 for share in shares)
