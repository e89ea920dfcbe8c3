"""A locustfile in a study: what its keys mean, what fits together, and what is refused with its line."""

from pathlib import Path

import pytest

from reports.preview import figures
from tests.support.locustfiles import ASKING, SHAPED
from tuner.gate.traffic import traffic_hash
from tuner.instruments import ladder_of
from tuner.load.plan import NAMES, UsersLoop
from tuner.load.users import generator
from tuner.load_plans import Climb, Ladder
from tuner.previewing import previews
from tuner.request_class import RequestClass
from tuner.results import Load
from tuner.study.load import load_study
from tuner.study.locustfile import LocustSpec
from tuner.study.source import StudyError
from tuner.traffic import make_workloads
from tuner.twin.simulation import simulation_of
from tuner.users import NO_REQUESTS, Users
from tuner.users_traffic import tell_of_unused
from tuner.wiring import Prepared, prepare
from tuner.workload import Workload

STUDY = """
study: shop
target: {kind: simulated, model: queue, repository: models}
workloads:
  shop:
    locustfile: shop.py
    spawn_rate: 100/s
space:
  max_batch_size: [1, 4]
  users: {low: 1, high: 8, scale: log2}
slo: {p99: 900 ms}
measure: {max_window: 1 s}
"""
MIXED = STUDY.replace(
    "    spawn_rate", "    classes: {ask: {}, looks: {names: [look], slo: {p99: 1 s}}}\n    spawn_rate"
)


def write(folder: Path, study: str = STUDY, locustfile: str | None = ASKING) -> Path:
    (folder / "models" / "queue").mkdir(parents=True)
    (folder / "models" / "queue" / "queue.json").write_text('{"fixed_ms": 1.0, "each_ms": 0.1}')
    if locustfile is not None:
        (folder / "shop.py").write_text(locustfile)
    path = folder / "study.yaml"
    path.write_text(study.lstrip())
    return path


def refused(folder: Path, study: str = STUDY, locustfile: str | None = ASKING) -> str:
    path = write(folder, study, locustfile)
    with pytest.raises(StudyError) as raised:
        prepare(load_study(path), folder / "log.txt")
    return str(raised.value).removeprefix(f"{folder}/")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("mixed")
    text = MIXED.replace("study: shop\n", "study: shop\nload: {search: max_under_slo}\n").replace(
        "slo: {p99: 900 ms}", "slo: {p99: 900 ms}\nobjectives: [maximize throughput]"
    )
    return prepare(load_study(write(folder, text)), folder / "log.txt")


def test_users_are_the_load_level_and_begin_in_the_warm_up(mixed: Prepared) -> None:
    (workload,) = mixed.workloads
    assert workload.level_name == "users"
    load = workload.at(4.0)
    assert load == Load(mode="users", level=4.0)
    loop = workload.loop(load, 1.0)
    assert loop == UsersLoop(4, 100.0, (("ask",), ("look",)))
    assert workload.users is not None
    assert workload.users.wait_s == pytest.approx(0.01)
    assert workload.users.warmup_s(50) == pytest.approx(0.51)


def test_each_class_of_the_study_has_results_and_one_the_rest(mixed: Prepared) -> None:
    (workload,) = mixed.workloads
    assert [part.name for part in workload.parts] == ["shop", "shop.ask", "shop.looks", "shop.other"]
    assert [one.first for one in workload.class_plans()] == [0, NAMES, 2 * NAMES]
    assert mixed.study.spec.bounds() == {
        "shop": {},
        "shop.ask": {"p99": 0.9},
        "shop.looks": {"p99": 1.0},
        "shop.other": {"p99": 0.9},
    }


def test_users_are_climbed_to_the_highest_that_meets_the_slo(mixed: Prepared) -> None:
    ladder = ladder_of(mixed)
    assert ladder == Ladder({"users": (1, 2, 4, 8)}, 0.05)
    ((workload, load),) = Climb(mixed.workloads, ladder, {"shop": 4.0}).next([]) or ()
    assert (workload.name, load) == ("shop", Load(mode="users", level=4))


def test_of_a_locustfile_nothing_is_previewed_but_that_it_is_one(mixed: Prepared) -> None:
    (found,) = previews(mixed.workloads[0], mixed.study)
    assert found.notes == ("a locustfile: its users decide when requests are sent, and which",)
    assert figures(found) == [("arrival", "shop.py"), ("note", found.notes[0])]


def test_what_a_study_does_not_take_of_a_locustfile_is_told_once_and_previewed(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, locustfile=SHAPED))
    workloads = make_workloads(study)
    said: list[str] = []
    tell_of_unused((*workloads, *workloads), said.append)
    assert [text.partition(":")[:2] for text in said] == [("shop.py", ":")]
    assert "load shape Ramp is not used" in said[0]
    (found,) = previews(workloads[0], study)
    assert found.notes[1:] == tuple(said)


def test_a_locustfile_is_not_simulated(mixed: Prepared) -> None:
    assert simulation_of(mixed).missing == "shop is a locustfile, and what its users do is not known before"


def test_a_workload_with_users_of_its_own_does_not_climb_with_another() -> None:
    fixed, climbing = users("fixed", own=3), users("climbing")
    windows = Climb([climbing, fixed], Ladder({"users": (1, 2)}, 0.05), {"climbing": 1.0})
    ((first, load),) = windows.next([]) or ()
    assert (first.name, load.level) == ("fixed", 3)


def users(name: str, own: int | None = None) -> Workload:
    classes = (RequestClass(NO_REQUESTS, 1.0),)
    return Workload(name, classes, None, 1, True, 0, concurrency=own, users=Users(Path("shop.py")))


def test_a_window_holds_two_of_the_longest_waits_and_the_warm_up_one(tmp_path: Path) -> None:
    text = ASKING.replace("constant(0.01)", "constant(5)")
    assert refused(tmp_path, locustfile=text) == (
        "study.yaml:5: workloads.shop.locustfile: its users wait up to 5 s between tasks, and the longest window is "
        "1 s; make the waits shorter, or give a `measure.max_window` of 10 s or more"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "from locust import HttpUser\nclass Base(HttpUser):\n    abstract = True\n",
            "study.yaml:5: workloads.shop.locustfile: shop.py has no class of users: give it one, like "
            "`class Shopper(HttpUser)`, without `abstract`",
        ),
        (
            "import locust\n\nraise RuntimeError('no settings')\n",
            "study.yaml:5: workloads.shop.locustfile: shop.py:3: RuntimeError: no settings",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, locustfile=text) == message


def test_a_file_that_is_not_there_is_refused_at_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, locustfile=None) == (
        f"study.yaml:5: workloads.shop.locustfile: there is no file {tmp_path / 'shop.py'}"
    )


def test_without_locust_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "find_spec", lambda _: None)
    assert refused(tmp_path) == (
        "study.yaml:5: workloads.shop.locustfile: a locustfile is run by Locust, which is not installed: pip install "
        "'paretune[locust]'"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("spawn_rate: 100/s", "users: 0"), "study.yaml:6: workloads.shop.users: Input should be greater than"),
        (("spawn_rate: 100/s", "spawn_rate: 10"), "study.yaml:6: workloads.shop.spawn_rate: expected a rate"),
        (
            ("spawn_rate: 100/s", "arrival: {process: closed}"),
            "study.yaml:6: workloads.shop.arrival: a locustfile says what is sent and when; take one of them out",
        ),
        (
            ("spawn_rate: 100/s", "requests: {source: tensors}"),
            "study.yaml:6: workloads.shop.requests: a locustfile says what is sent and when; take one of them out",
        ),
        (("spawn_rate: 100/s", "spawnrate: 1/s"), "study.yaml:6: workloads.shop.spawnrate: unknown key `spawnrate`"),
        (
            ("spawn_rate: 100/s", "classes: {a: {names: [/x]}, b: {names: [/x]}}"),
            "study.yaml:6: workloads.shop.classes.b: '/x' is a request of `a` already",
        ),
        (
            ("spawn_rate: 100/s", "classes: {other: {names: [/x]}}"),
            "study.yaml:6: workloads.shop.classes.other.names: `other` has what no other class names",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert refused(tmp_path, STUDY.replace(*change)).startswith(message)


def test_tokens_cannot_be_asked_of_a_locustfile(tmp_path: Path) -> None:
    text = STUDY.replace(
        "kind: simulated, model: queue, repository: models", "kind: openai, url: http://h/v1, model: m"
    )
    text = text.replace("  max_batch_size: [1, 4]\n", "").replace("p99: 900 ms", "ttft_p99: 1 s")
    assert refused(tmp_path, text) == (
        "study.yaml:9: slo.ttft_p99: Locust does not tell when tokens come, so a locustfile's requests have none; give "
        "the bound to the other workloads"
    )


def test_accuracy_cannot_be_asked_of_a_locustfile(tmp_path: Path) -> None:
    assert refused(tmp_path, STUDY.replace("p99: 900 ms", "accuracy_drop: 1%")) == (
        "study.yaml:10: slo.accuracy_drop: no workload's requests have labels to judge accuracy by"
    )


def test_users_have_to_be_given_once(tmp_path: Path) -> None:
    searched = "  users: {low: 1, high: 8, scale: log2}\n"
    text = STUDY.replace(searched, "")
    assert refused(tmp_path, text) == (
        "study.yaml:7: space: workload 'shop' is a locustfile without `users`: give `users` a range, a list or one "
        "value"
    )


def test_users_of_the_workload_and_of_the_space_are_one_too_many(tmp_path: Path) -> None:
    assert refused(tmp_path, STUDY.replace("spawn_rate: 100/s", "users: 5")) == (
        "study.yaml:9: space.users: no workload of this study has users that it does not fix itself; take it out"
    )


def test_users_may_be_fixed_by_the_workload(tmp_path: Path) -> None:
    text = STUDY.replace("  users: {low: 1, high: 8, scale: log2}\n", "").replace("spawn_rate: 100/s", "users: 5")
    study = load_study(write(tmp_path, text))
    (workload,) = make_workloads(study)
    assert workload.at(None) == Load(mode="users", level=5)
    assert isinstance(study.spec.workloads["shop"], LocustSpec)
    assert study.spec.workloads["shop"].files() == [Path("shop.py")]


def test_users_that_keep_their_own_host_have_one(tmp_path: Path) -> None:
    assert refused(tmp_path, STUDY.replace("spawn_rate: 100/s", "host: own")) == (
        "study.yaml:6: workloads.shop.host: Visitor of shop.py has no `host`, and neither has a locust.conf"
    )


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("catalogue.py", "ITEMS = [1]\n", True),
        ("locust.conf", "stop-timeout = 1\n", True),
        ("pyproject.toml", "[tool.locust]\nstop-timeout = 1\n", True),
        ("pyproject.toml", "[project]\nname = 'shop'\n", False),
        ("unused.py", "", False),
    ],
)
def test_what_a_locustfile_needs_beside_it_is_part_of_the_study(
    tmp_path: Path, name: str, text: str, counts: bool
) -> None:
    study = load_study(write(tmp_path, locustfile="import catalogue\n" + ASKING))
    (traffic,) = study.spec.workloads.values()
    before = study.fingerprint(), traffic_hash(traffic, study.resolve)
    (tmp_path / name).write_text(text)
    now = study.fingerprint(), traffic_hash(traffic, study.resolve)
    assert [one != other for one, other in zip(before, now, strict=True)] == [counts, counts]


def test_a_locustfile_without_anything_beside_it_is_the_traffic_that_it_was(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    (traffic,) = study.spec.workloads.values()
    assert isinstance(traffic, LocustSpec)
    assert traffic.files_of_these(study.resolve) == []
