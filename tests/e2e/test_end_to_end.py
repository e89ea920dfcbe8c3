"""`tune` as a user runs it, on the real Triton."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import psutil
import pytest
import tritonclient.http

from targets.ports import choose_ports
from targets.triton import config as model_config
from targets.triton.installation import find_installation
from tests.support.tune import tune
from tuner.results import Comparison, Result, Trial, read_result, result_schema

pytestmark = pytest.mark.long

WriteStudy = Callable[..., Path]

ONE_LEVEL = {"max_batch_size": [8, 32], "precision": ["fp32", "int8"], "concurrency": [4]}
"""A space at one load level: there is no shortlist to be made."""
FIRST = [{"max_batch_size": 16, "max_queue_delay": "1 ms", "precision": "int8"}]
"""Measured after the study's own: a delay and a precision that it has not, whatever the search proposes then."""
PAUSING = """

import time

run = TritonPythonModel.execute


def execute(self, requests):
    time.sleep(0.002)
    return run(self, requests)


TritonPythonModel.execute = execute
"""
"""Behind a model: a batch takes at least so long, whatever its size and however busy the machine is."""
DECIDED = (0, 5)
"""On a busy host so short a confirmation may leave an SLO undecided, and the load generator may send late."""
BROKEN_MODEL = """
import os, signal, time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

spec = spec_from_file_location("good", Path(__file__).with_name("good.py"))
good = module_from_spec(spec)
spec.loader.exec_module(good)


class TritonPythonModel(good.TritonPythonModel):
    def initialize(self, args):
        super().initialize(args)
        self.fault = good.json.loads(args["model_config"])["parameters"].get("fault", {}).get("string_value")

    def execute(self, requests):
        if self.fault == "crash":
            os.kill(os.getppid(), signal.SIGKILL)
        if self.fault == "hang":
            time.sleep(600)
        return super().execute(requests)
"""


def start_tune(study: Path, cwd: Path) -> "subprocess.Popen[str]":
    """Start a run that listens to SIGINT, even where the tests themselves were started in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "tuner", str(study)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads run here
    )


def wait_for(process: "subprocess.Popen[str]", text: str) -> str:
    """Read the run's output until a line has the text; return all of it."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"the run ended without {text!r}:\n{seen}")


def servers_of(folder: Path) -> list[psutil.Process]:
    """Tritonservers and stubs whose parent chain or working files belong to runs in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "name"]):
        line = " ".join(process.info["cmdline"] or [])
        if process.info["cwd"] == str(folder) and (
            "triton" in line or "tuner.load.worker" in line or "guardian" in line
        ):
            found.append(process)
    return found


def gone(folder: Path, seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while servers_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not servers_of(folder)


def latest(folder: Path) -> Result:
    return read_result(folder / "runs" / "digits" / "latest")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One whole run of a small study, for all tests that only look at what came of it."""
    folder = tmp_path_factory.mktemp("finished")
    studies = Path(__file__).parents[2] / "studies"
    shutil.copytree(studies / "digits", folder / "digits")
    study = (studies / "digits.yaml").read_text()
    (folder / "digits.yaml").write_text(
        study.replace("low: 1, high: 64, scale: log2", "low: 8, high: 32, scale: log2")
        .replace("p99: 10 ms, error_rate: 0.1%", "p90: 5 s, error_rate: 50%")
        .replace("trials: 40", "trials: 3")
        .replace("  seed: 7", f"  seed: 7\n  start: {json.dumps(FIRST)}")
        .replace("instances: {low: 1, high: 4}", "instances: 1")
        + "measure: {warmup: 0.1 s, max_warmup: 0.2 s, window: 0.2 s, max_window: 0.4 s}\n"
        + "confirm: {candidates: 2, redeployments: 2, max_redeployments: 3, rounds: 2, round: 0.2 s}\n"
    )
    ended = tune("digits.yaml", cwd=folder)
    assert ended.returncode == 0, ended.stderr  # here, so that a rerun is another run
    return folder, ended


def test_a_run_ends_with_zero_a_table_and_no_process_left(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, ended = finished
    assert ended.returncode == 0, ended.stderr
    assert "yours" in ended.stdout
    run = (folder / "runs/digits/latest").resolve()
    place = run.relative_to(folder.resolve())
    *_, report, config, last = ended.stdout.splitlines()
    assert report == f"report   {place}/report.html"
    assert config == f"config   {place}/best/  (loaded by the server)"
    best = latest(folder).best
    command = f"tune export {place} --apply" if best is not None and best.trial else f"tune open {place}"
    assert last.split(maxsplit=1)[1] == command
    assert (f"<code>{command}</code>" in (run / "report.html").read_text()) == ("--apply" in command)
    assert "trial 3" in ended.stderr
    assert servers_of(folder) == []


def test_the_result_validates_against_the_published_schema(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    document = json.loads((folder / "runs/digits/latest/result.json").read_text())
    jsonschema.validate(document, result_schema())
    assert document["schema"] == "paretune.result/1"
    assert document["state"] == "done"
    assert [trial["number"] for trial in document["trials"]] == [0, 1, 2, 3]


def test_every_point_carries_the_servers_own_numbers_of_its_window(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    result = latest(finished[0])
    points = [point for trial in result.trials for point in trial.points]
    assert len(points) >= 10
    for point in points:
        assert point.server is not None
        # the server's own window ends a moment later, on a busy machine a long one
        answered = point.metrics["throughput_rps"].value * point.server.window_s
        assert point.server.requests == pytest.approx(answered, rel=0.2, abs=70)
        assert point.server.mean_s["compute_infer"] < point.metrics["latency_p99_s"].value
        assert point.telemetry.cpu_cores is not None
        assert point.telemetry.cpu_cores > 0
        assert (finished[0] / "runs/digits/latest" / str(point.records)).is_file()


def test_accuracy_is_measured_through_the_server_for_each_precision(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    accuracies = {
        trial.config["precision"]: point.metrics["accuracy"]
        for trial in latest(finished[0]).trials
        for point in trial.points
    }
    assert set(accuracies) == {"fp32", "int8"}
    for accuracy in accuracies.values():
        assert accuracy.n == 600
        assert 0.95 < accuracy.low < accuracy.value < accuracy.high <= 1.0


def test_the_tables_have_a_row_for_each_point(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    result = latest(folder)
    rows = list(csv.DictReader((folder / "runs/digits/latest/trials.csv").read_text().splitlines()))
    assert len(rows) == sum(len(trial.points) for trial in result.trials)
    delays = {float(trial.config["max_queue_delay"]) for trial in result.trials}
    assert {float(row["max_queue_delay_s"]) for row in rows} == delays
    assert delays > {0.0}
    front = list(csv.DictReader((folder / "runs/digits/latest/front.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in front] == [member.trial for member in result.front]


def test_the_report_is_one_file_with_the_answer_and_without_requests(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    page = (finished[0] / "runs/digits/latest/report.html").read_text()
    own = page.replace(page[page.index("<script>") : page.index("</script>")], "")
    assert '<figure class="drawing" id="front"' in own
    assert "src=" not in own
    assert "https://" not in own
    assert "SLO, workload by workload" in own


def test_the_exported_config_loads_in_a_tritonserver_started_by_hand(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = finished
    run = folder / "runs/digits/latest"
    repository = Path(shutil.copytree(folder / "digits/models", tmp_path / "repository"))
    exported = (run / "best/digits/config.pbtxt").read_text()
    (repository / "digits/config.pbtxt").write_text(exported)
    installation = find_installation(None, tmp_path)
    port = choose_ports({"http": None})["http"]
    command = [
        str(installation.executable), *installation.flags, f"--model-repository={repository}",
        f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false",
    ]  # fmt: skip
    with subprocess.Popen(command, env={**os.environ, **installation.env}, stderr=subprocess.DEVNULL) as server:
        try:
            client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
            deadline = time.monotonic() + 60
            while not ready(client) and time.monotonic() < deadline:
                time.sleep(0.1)
            loaded = model_config.knob_values(model_config.from_loaded(client.get_model_config("digits")))
            client.close()
        finally:
            server.terminate()
    best = latest(folder).best
    assert best is not None
    assert loaded == {name: best.config[name] for name in loaded}


def ready(client: tritonclient.http.InferenceServerClient) -> bool:
    try:
        return bool(client.is_model_ready("digits"))
    except OSError:
        return False


def test_the_export_differs_from_the_users_file_only_in_tuned_fields(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    before = (folder / "digits/models/digits/config.pbtxt").read_text().splitlines()
    written = (folder / "runs/digits/latest/best/digits/config.pbtxt").read_text().splitlines()
    after = [line for line in written if not line.startswith("# paretune: ")]
    assert len(before) == len(after)
    tuned = ("max_batch_size:", "dynamic_batching", "count:", "model.onnx")
    changed = [one for one, other in zip(before, after, strict=True) if one != other]
    assert all(any(field in line for field in tuned) for line in changed)


def test_a_second_call_says_that_the_run_is_done(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, first = finished
    again = tune("digits.yaml", cwd=folder)
    assert again.returncode == 0
    assert "this run is done" in again.stderr
    assert "--fresh" in again.stderr
    assert again.stdout == first.stdout


def test_json_prints_the_stored_document_and_nothing_else(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    ended = tune("digits.yaml", "--json", cwd=folder)
    assert json.loads(ended.stdout) == json.loads((folder / "runs/digits/latest/result.json").read_text())


def test_a_report_is_rebuilt_without_a_server(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    report = folder / "runs/digits/latest/report.html"
    before = report.read_text()
    report.unlink()
    ended = tune("report", "runs/digits/latest", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert report.read_text() == before


def test_an_export_keeps_what_stands_there_as_a_backup(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = finished
    theirs = tmp_path / "digits" / "config.pbtxt"
    theirs.parent.mkdir()
    theirs.write_text("# somebody's own\n")
    ended = tune("export", "runs/digits/latest", "--to", tmp_path, "--trial", 1, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert theirs.with_name("config.pbtxt.bak").read_text() == "# somebody's own\n"
    assert "config.pbtxt.bak" in ended.stdout
    config = model_config.knob_values(model_config.parse(theirs.read_text(), theirs))
    tried = latest(folder).trial(1).config
    assert config == {name: tried[name] for name in config}


def test_an_export_diff_shows_the_change_and_writes_nothing(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    ended = tune("export", "runs/digits/latest", "--trial", 1, "--diff", cwd=finished[0])
    assert ended.returncode == 0
    assert ended.stdout.startswith("--- yours/digits/config.pbtxt\n+++ best/digits/config.pbtxt\n")


def test_a_trial_that_does_not_exist_is_named(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    ended = tune("export", "runs/digits/latest", "--trial", 99, "--diff", cwd=finished[0])
    assert ended.returncode == 2
    assert "--trial 99: no such trial; there are 0, 1, 2, 3" in ended.stderr


def test_a_killed_run_leaves_no_server_and_is_resumed_without_losing_a_trial(
    small_study: WriteStudy, tmp_path: Path
) -> None:
    study = small_study(space=ONE_LEVEL, search={"budget": {"trials": 3, "time": "5 min"}, "seed": 1})
    with start_tune(study, tmp_path) as process:
        wait_for(process, "trial 2 ")
        process.send_signal(signal.SIGKILL)
    assert gone(tmp_path)
    before = latest(tmp_path)
    assert before.state == "running"
    ended = tune(study, cwd=tmp_path)
    assert ended.returncode in DECIDED, ended.stderr
    after = latest(tmp_path)
    kept = len(before.trials)
    assert kept >= 2
    assert after.trials[:kept] == before.trials
    assert [trial.number for trial in after.trials] == [0, 1, 2, 3]
    assert f"the baseline and {kept - 1} trials are kept" in ended.stderr or kept == 2
    assert len(list((tmp_path / "runs" / "digits").glob("20*"))) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_what_there_is_and_stops_the_server(
    number: signal.Signals, small_study: WriteStudy, tmp_path: Path
) -> None:
    study = small_study(search={"budget": {"trials": 50, "time": "5 min"}, "seed": 1})
    with start_tune(study, tmp_path) as process:
        wait_for(process, "trial 1 ")
        process.send_signal(number)
        assert process.stdout is not None
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert gone(tmp_path, seconds=1)
    result = latest(tmp_path)
    assert result.state == "interrupted"
    assert len(result.trials) >= 2
    run = tmp_path / "runs/digits/latest"
    assert "interrupted" in (run / "report.html").read_text()
    assert (run / "yours/digits/config.pbtxt").read_bytes() == (tmp_path / "models/digits/config.pbtxt").read_bytes()
    assert "Traceback" not in rest


def test_fresh_starts_over_and_keeps_the_old_run(small_study: WriteStudy, tmp_path: Path) -> None:
    budget = {"trials": 1, "time": "5 min"}
    never = {"mean": "1 us", "p90": "20 s"}  # the second allows requests to be sent late
    study = small_study(space=ONE_LEVEL, search={"budget": budget, "seed": 1}, slo=never)
    first = tune(study, cwd=tmp_path)
    second = tune(study, "--fresh", "--quiet", cwd=tmp_path)
    assert (first.returncode, second.returncode) == (4, 4), first.stderr + second.stderr
    assert len(list((tmp_path / "runs" / "digits").glob("20*"))) == 2
    assert second.stderr == ""


def test_an_slo_that_nobody_meets_is_exit_4_and_says_how_close_it_came(small_study: WriteStudy, tmp_path: Path) -> None:
    lenient = "import tuner.validity as m; m.MAX_ISSUE_DELAY_S = 1.0; from tuner.cli import main"
    command = [sys.executable, "-c", f"{lenient}; main()", str(small_study(slo={"p99": "1 us"}))]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 4, ended.stderr
    assert "no configuration met the SLO" in ended.stdout
    assert "Closest: trial" in ended.stdout
    closest = latest(tmp_path).closest
    assert closest is not None
    assert closest.missed["steady.p99"] > 1
    assert "over its bound" in (tmp_path / "runs/digits/latest/report.html").read_text()


def test_configurations_that_crash_hang_or_are_refused_are_recorded_and_the_search_goes_on(
    small_study: WriteStudy, repository: Path, tmp_path: Path
) -> None:
    version = repository / "digits" / "1"
    (version / "model.py").rename(version / "good.py")
    (version / "model.py").write_text(BROKEN_MODEL)
    config = repository / "digits" / "config.pbtxt"
    config.write_text(
        config.read_text().replace("dynamic_batching { }", "dynamic_batching { preferred_batch_size: [ 8 ] }")
    )
    faults = {"good": {}, "crash": {"parameters": {"fault": "crash"}}, "hang": {"parameters": {"fault": "hang"}}}
    target = {"kind": "triton", "model": "digits", "repository": "models", "variants": faults, "apply_timeout": "5 s"}
    study = small_study(
        target=target,
        space={"max_batch_size": [4, 16], "precision": list(faults), "concurrency": [4]},
        slo={"p90": "300 ms", "error_rate": "5%"},
        search={
            "budget": {"trials": 10, "time": "5 min"},
            "seed": 1,
            "start": [{"max_batch_size": 4, "precision": "good"}],  # breaks a rule; what is not asked for is left out
        },
    )
    ended = tune(study, cwd=tmp_path)
    result = latest(tmp_path)
    states = {(trial.config["precision"], trial.config["max_batch_size"]): trial for trial in result.trials[1:]}
    assert states["good", 16].state == "complete"
    assert states["crash", 16].state == "crashed"
    assert "exit code -9" in str(states["crash", 16].reason)
    assert states["hang", 16].state == "hung"
    assert states["good", 4].state == "refused"
    assert not {("crash", 4), ("hang", 4)} & set(states)
    assert "preferred size must be <= max batch size" in str(states["good", 4].reason)
    assert "preferred size must be" in (tmp_path / "runs/digits/latest/report.html").read_text()
    assert ended.returncode in DECIDED, ended.stderr
    assert result.best is not None
    assert result.best.config["precision"] == "good"
    assert gone(tmp_path, seconds=1)


def test_bench_prints_one_configuration_at_every_load_level(small_study: WriteStudy, tmp_path: Path) -> None:
    ended = tune("bench", small_study(), "--set", "space.max_batch_size=32", "--json", cwd=tmp_path)
    assert ended.returncode in DECIDED, ended.stderr
    trial = json.loads(ended.stdout)
    assert trial["config"]["max_batch_size"] == 32
    levels = [(point["workload"], point["load"]["level"]) for point in trial["points"]]
    assert levels == [("steady", 4.0), ("steady", 16.0), ("bursty", 500.0)]


def test_compare_tells_two_configurations_apart(small_study: WriteStudy, repository: Path, tmp_path: Path) -> None:
    """Batches of one against batches of 16, 16 requests in flight, in many deployments: no noise makes up for that."""
    with (repository / "digits" / "1" / "model.py").open("a") as model:
        model.write(PAUSING)
    sides = ["--ours", "max_batch_size=16", "--theirs", "max_batch_size=1"]
    sets = ["--set", "space.concurrency=16", "--set", "confirm.redeployments=6", "--set", "confirm.rounds=2"]
    ended = tune("compare", small_study(), *sides, *sets, "--json", cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    made = Comparison.model_validate_json(ended.stdout)
    assert (made.ours.config["max_batch_size"], made.theirs.config["max_batch_size"]) == (16, 1)
    assert made.ratios["steady"]["throughput_rps"].verdict == "better"
    assert made.ratios["steady"]["latency_p50_s"].verdict == "better"
    assert (made.redeployments, made.rounds) == (6, 12)
    assert set(made.ratios) == {"steady", "bursty"}
    stored = (tmp_path / "runs/digits-compare/latest/compare.json").read_text()
    assert json.loads(stored) == json.loads(ended.stdout)
    assert gone(tmp_path, seconds=1)


def test_compare_of_a_run_with_itself_finds_no_difference_and_needs_no_server(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    ended = tune("compare", "runs/digits/latest", "runs/digits/latest", "--json", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    ratios = json.loads(ended.stdout)
    assert set(ratios) == {"steady", "bursty"}
    assert ratios["steady"]["throughput_rps"]["value"] == 1.0
    verdicts = {ratio["verdict"] for found in ratios.values() for ratio in found.values()}
    assert verdicts <= {"no difference", "inconclusive"}
    shown = tune("compare", "runs/digits/latest", "runs/digits/latest", cwd=folder)
    assert "ours / theirs" in shown.stdout


def test_bench_over_grpc_by_two_processes_shows_the_whole_picture(small_study: WriteStudy, tmp_path: Path) -> None:
    sets = ["target.protocol=grpc", "generator.processes=2", "space.concurrency=[8]", "isolation=none"]
    ended = tune("bench", small_study(), *[part for one in sets for part in ("--set", one)], cwd=tmp_path)
    trial = Trial.model_validate_json((tmp_path / "runs/digits-bench/latest/bench.json").read_text())
    assert trial.points, ended.stderr
    for point in trial.points:
        assert point.generator.processes == 2
        assert point.outcomes.get("ok", 0) > 0
        assert point.metrics["accuracy"].value > 0.97
    assert ended.returncode in (0, 5), ended.stderr
    for part in ("steady, 8 in flight", "95% interval", "service time p99", "queue, mean of", "load generator: sent"):
        assert part in ended.stdout


def test_bench_of_a_spoiled_measurement_is_exit_5_with_the_reason(small_study: WriteStudy, tmp_path: Path) -> None:
    strict = (
        "import tuner.validity as m; m.MAX_ISSUE_DELAY_S = m.MAX_ISSUE_DELAY_SHARE = 0.0; from tuner.cli import main"
    )
    command = [sys.executable, "-c", f"{strict}; main()", "bench", str(small_study()), "--set", "space.concurrency=[4]"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 5, ended.stderr
    assert "not valid: steady: the load generator sent late: issue delay p99" in ended.stderr
    assert "not valid" in ended.stdout


def test_a_model_that_does_not_load_is_exit_3_with_the_servers_reason(
    small_study: WriteStudy, repository: Path, tmp_path: Path
) -> None:
    (repository / "digits" / "1" / "model.py").write_text("raise RuntimeError('out of cheese')\n")
    ended = tune(small_study(), cwd=tmp_path)
    assert ended.returncode == 3
    assert "out of cheese" in ended.stderr
    assert "Traceback (most recent call last)" not in ended.stderr.partition("tune:")[0]
