"""`tune export` as a user runs it: into the user's own files, into a copy, as a command; a real Triton loads it."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from targets.ports import choose_ports
from targets.triton import config as model_config
from targets.triton.installation import find_installation
from tests.support.tune import tune
from tests.support.written_run import written_run
from tests.triton.test_triton_files import MODEL
from tests.tuner.result_builders import point
from tuner import cli
from tuner.provenance import MARK, with_header, without_header
from tuner.results import Load, read_result, to_json

pytestmark = pytest.mark.long

TUNED = {"max_batch_size": 4, "max_queue_delay": 0.0005, "instances": 2}
WriteStudy = Callable[..., Path]


class Ended(NamedTuple):
    """What a command said, with its own line ends."""

    stdout: str
    stderr: str


@pytest.fixture
def run(small_study: WriteStudy, tmp_path: Path) -> Path:
    """A finished run of the digits, on a repository of its own."""
    return written_run(small_study(), tmp_path / "run", TUNED)


@pytest.fixture
def own(repository: Path) -> Path:
    """The user's own file."""
    return repository / "digits" / "config.pbtxt"


def export(run: Path, *arguments: object, code: int = 0) -> Ended:
    """Run `tune export`, in this process: it starts nothing that could be left."""
    ended = CliRunner().invoke(cli.app, ["export", str(run), *map(str, arguments)])
    assert ended.exit_code == code, ended.stderr
    return Ended(ended.stdout_bytes.decode(), ended.stderr)


def words(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))


def values(path: Path) -> dict[str, object]:
    return dict(model_config.knob_values(model_config.parse(path.read_text(), path)))


# -- what is written, and where it comes from --


def test_a_file_says_where_it_comes_from_once_and_not_when_asked_not_to(run: Path, own: Path, tmp_path: Path) -> None:
    before = own.read_text()
    export(run, "--apply")
    head, rest = own.read_text().splitlines()[:4], own.read_text().splitlines()[4:]
    assert all(line.startswith(MARK) for line in head)
    assert head[0].startswith(f"{MARK}study digits, trial 1, tuned with Paretune ")
    assert head[1] == f"{MARK}run run, started 2026-11-27 00:12 UTC"
    assert head[2] == f"{MARK}confirmed: throughput 1.50x that of the configuration before, 95% interval 1.40 to 1.60"
    assert head[3] == f"{MARK}at 4 in flight"
    assert not any(line.startswith(MARK) for line in rest)
    again = export(run, "--apply")
    assert "says so already" in again.stderr
    assert own.read_text().count(MARK) == 4
    export(run, "--to", tmp_path / "bare", "--no-header")
    bare = (tmp_path / "bare" / "digits" / "config.pbtxt").read_text()
    assert bare.splitlines() == rest
    assert own.with_name("config.pbtxt.bak").read_text() == before


def test_a_pick_is_told_with_the_load_of_each_workload(run: Path, tmp_path: Path) -> None:
    found = read_result(run)
    own, one = found.trials
    points = [
        *(point(level=level, throughput=100 * level, p99=0.001 * level) for level in (4, 8)),
        *(point("web", level, mode="open") for level in (200, 300)),
    ]
    apart = [each.model_copy(update={"points": points, "own_loads": True}) for each in (own, one)]
    apart[0] = apart[0].model_copy(update={"points": [point(level=4, throughput=400), points[2]]})
    study = found.study.model_copy(update={"workloads": ["steady", "web"]})
    loads = {"web": Load(mode="open", level=200)}
    best = found.best.model_copy(update={"loads": loads}) if found.best else None
    (run / "result.json").write_text(to_json(found.model_copy(update={"trials": apart, "study": study, "best": best})))
    stderr = export(run, "--pick", "fastest", "--to", tmp_path / "out").stderr
    loads_of_pick = "at 4 in flight, web 300/s offered"
    assert f"trial 1 is picked as the fastest {loads_of_pick}" in " ".join(stderr.split())
    head = (tmp_path / "out" / "digits" / "config.pbtxt").read_text().splitlines()[2:5]
    assert head[0].startswith(f"{MARK}confirmed: ")
    assert head[1:] == [f"{MARK}at 4 in flight, web 200/s offered", f"{MARK}picked as the fastest {loads_of_pick}"]
    shown = CliRunner().invoke(cli.app, ["show", str(run)]).stdout
    assert "the best of this run, at 4 in flight, web 200/s offered" in " ".join(shown.split())
    assert "picked" not in export(run, "--diff").stderr


def test_the_users_own_configuration_is_written_as_it_is(run: Path, own: Path, tmp_path: Path) -> None:
    export(run, "--trial", 0, "--to", tmp_path / "out")
    assert (tmp_path / "out" / "digits" / "config.pbtxt").read_bytes() == own.read_bytes()


def test_an_edit_since_the_run_is_kept_and_said(run: Path, own: Path) -> None:
    ended = export(run, "--diff")
    assert "has changed since the run" not in ended.stderr
    own.write_text(own.read_text().replace("max_batch_size: 8", "# ours\nmax_batch_size: 64\nresponse_cache { }"))
    ended = export(run, "--apply")
    assert re.search(r"digits/config\.pbtxt has changed since the run; .*only tuned fields change", ended.stderr)
    assert "# ours\nmax_batch_size: 4\nresponse_cache { }\n" in own.read_text()


def test_what_an_export_wrote_is_no_edit(run: Path) -> None:
    export(run, "--apply")
    assert "has changed since the run" not in export(run, "--diff").stderr


# -- the way back, and to another trial, once a configuration was written --


@pytest.fixture
def bare(small_study: WriteStudy, own: Path, tmp_path: Path) -> Path:
    """A run whose model leaves batching and instances to Triton, so that its own configuration says nothing of them."""
    bare = re.sub(r"dynamic_batching \{ \}\n|instance_group \[.*?^\]\n", "", own.read_text(), flags=re.M | re.S)
    assert "instance_group" not in bare
    assert "dynamic_batching" not in bare
    own.write_text(bare)
    return written_run(small_study(), tmp_path / "run", TUNED, {"max_batch_size": 16})


def test_the_way_back_leads_to_the_file_of_the_run_byte_for_byte(bare: Path, own: Path) -> None:
    before = own.read_bytes()
    export(bare, "--apply")
    assert values(own) == TUNED
    diff = export(bare, "--trial", 0, "--diff").stdout
    assert patched(own.read_text(), diff).encode() == before, "a diff of what stands there now"
    ended = export(bare, "--trial", 0, "--apply")
    assert "has changed since the run" not in ended.stderr
    assert "config.pbtxt.bak" in ended.stdout
    assert own.read_bytes() == before
    assert "says so already" in export(bare, "--trial", 0, "--apply").stderr


def test_a_trial_is_written_alike_whichever_was_written_before(bare: Path, own: Path) -> None:
    before = own.read_bytes()
    export(bare, "--trial", 2, "--apply")
    second = own.read_bytes()
    assert values(own) == {"max_batch_size": 16}
    export(bare, "--apply")
    first = own.read_bytes()
    ended = export(bare, "--trial", 2, "--apply")
    assert "has changed since the run" not in ended.stderr
    assert own.read_bytes() == second
    export(bare, "--apply", "--no-header")
    assert own.read_text() == without_header(first.decode())
    export(bare, "--trial", 2, "--apply")
    export(bare, "--trial", 0, "--apply")
    assert own.read_bytes() == before


def test_what_was_edited_after_it_was_written_is_kept_and_said(bare: Path, own: Path) -> None:
    export(bare, "--apply")
    own.write_text(f"{own.read_text()}# ours\n")
    assert "has changed since the run" in export(bare, "--trial", 0, "--apply").stderr
    assert own.read_text().endswith("# ours\n")
    assert values(own)["instances"] == TUNED["instances"]


def test_a_variant_is_not_left_in_the_file_of_another(small_study: WriteStudy, own: Path, tmp_path: Path) -> None:
    faster = {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt"}]}}}
    study = small_study(
        target={"kind": "triton", "model": "digits", "repository": "models", "variants": {"fp32": {}, "fp16": faster}},
        space={"precision": ["fp32", "fp16"], "max_batch_size": [8, 32], "concurrency": 4},
    )
    run = written_run(study, tmp_path / "run", {"precision": "fp16"}, {"precision": "fp32", "max_batch_size": 32})
    export(run, "--apply")
    assert "tensorrt" in own.read_text()
    export(run, "--trial", 2, "--apply")
    assert "tensorrt" not in own.read_text()
    assert values(own)["max_batch_size"] == 32


def of_two_models(small_study: WriteStudy, own: Path) -> Path:
    """Write a study of two variants, each with a model of its own."""
    other = Path(shutil.copytree(own.parent, own.parents[1] / "digits_int8")) / "config.pbtxt"
    other.write_text(own.read_text().replace('name: "digits"', 'name: "digits_int8"').replace("onnx", "int8.onnx", 1))
    return small_study(
        target={"kind": "triton", "model": "digits", "repository": "models",
                "variants": {"fp32": {}, "int8": {"model": "digits_int8"}}},
        space={"precision": ["fp32", "int8"], "max_batch_size": [4, 8, 32], "concurrency": 4},
        search={"sampler": "random", "start": [{"precision": "int8"}], "budget": {"trials": 1, "time": "5 min"}},
    )  # fmt: skip


@pytest.fixture
def apart(small_study: WriteStudy, own: Path, tmp_path: Path) -> Path:
    """A run of two variants, each with a model of its own; the best is of the second, trial 2 of the first."""
    study = of_two_models(small_study, own)
    best, second = {"precision": "int8", "max_batch_size": 4}, {"precision": "fp32", "max_batch_size": 32}
    return written_run(study, tmp_path / "run", best, second)


def test_the_way_back_leads_to_the_models_of_all_variants(apart: Path, own: Path, tmp_path: Path) -> None:
    other = own.parents[1] / "digits_int8" / "config.pbtxt"
    before = {path: path.read_bytes() for path in (own, other)}
    export(apart, "--apply")
    export(apart, "--trial", 2, "--apply")
    assert values(own)["max_batch_size"] == 32
    assert values(other)["max_batch_size"] == 4
    export(apart, "--trial", 0, "--to", tmp_path / "elsewhere")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["digits"], "the server needs no other"
    ended = export(apart, "--trial", 0, "--apply")
    assert "has changed since the run" not in ended.stderr
    assert {path: path.read_bytes() for path in before} == before
    export(apart, "--apply")
    export(apart, "--trial", 0, "--to", own.parents[1])
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_keeps_the_files_of_all_its_trials_whichever_is_the_best(
    small_study: WriteStudy, own: Path, tmp_path: Path
) -> None:
    ended = tune(of_two_models(small_study, own), "--out", "run", cwd=tmp_path)
    result = read_result(tmp_path / "run")
    assert result.state == "done", ended.stderr
    assert [trial.config["precision"] for trial in result.trials] == ["fp32", "int8"]
    kept = {path: path.read_bytes() for path in (tmp_path / "run" / "yours").glob("*/config.pbtxt")}
    assert {path.parent.name: text for path, text in kept.items()} == {
        name: (own.parents[1] / name / "config.pbtxt").read_bytes() for name in ("digits", "digits_int8")
    }


def test_what_was_edited_in_the_model_of_another_variant_is_kept_and_said(apart: Path, own: Path) -> None:
    other = own.parents[1] / "digits_int8" / "config.pbtxt"
    other.write_text(f"{other.read_text()}# before any export\n")
    assert "has changed since the run" not in export(apart, "--trial", 0, "--diff").stderr
    export(apart, "--apply")
    other.write_text(f"{other.read_text()}# ours\n")
    written = other.read_bytes()
    ended = export(apart, "--trial", 0, "--apply")
    assert "digits_int8/config.pbtxt has changed since the run; it stays as it is now" in ended.stderr
    assert other.read_bytes() == written


def test_the_models_of_other_variants_are_no_part_of_the_change(apart: Path, tmp_path: Path) -> None:
    diff = summarized(apart, tmp_path / "summary.md")
    assert re.findall(r"^(?:---|\+\+\+) (.*)$", diff, re.MULTILINE) == [
        "yours/digits_int8/config.pbtxt",
        "best/digits_int8/config.pbtxt",
    ]


def test_a_server_is_not_asked_for_the_model_of_another_variant(apart: Path, own: Path, server: str) -> None:
    other = own.parents[1] / "digits_int8" / "config.pbtxt"
    before = other.read_bytes()
    export(apart, "--apply")
    export(apart, "--trial", 0, "--apply", "--reload", server)
    assert other.read_bytes() == before
    assert loaded(server, "digits")["max_batch_size"] == 8
    with pytest.raises(HTTPError):
        loaded(server, "digits_int8")


def test_a_diff_is_one_that_can_be_applied(run: Path, own: Path, tmp_path: Path) -> None:
    own.write_bytes(own.read_bytes().rstrip(b"\n").replace(b"max_batch_size: 8", b"max_batch_size: 8\r\n# \x0c here"))
    diff = export(run, "--diff", "--no-header").stdout
    assert diff.startswith("--- yours/digits/config.pbtxt\n+++ best/digits/config.pbtxt\n@@ -")
    export(run, "--to", tmp_path / "out", "--no-header")
    wanted = (tmp_path / "out" / "digits" / "config.pbtxt").read_bytes()
    assert patched(own.read_bytes().decode(), diff).encode() == wanted


def test_the_report_tells_the_change_after_it_was_applied_too(run: Path, own: Path, tmp_path: Path) -> None:
    before = own.read_text()
    export(run, "--apply")
    diff = summarized(run, tmp_path / "summary.md")
    assert diff.startswith("--- yours/digits/config.pbtxt\n+++ best/digits/config.pbtxt\n@@ -")
    assert patched(before, diff) == without_header(own.read_text()) != before
    assert 'id="config-diff"' in (run / "report.html").read_text()
    shutil.rmtree(own.parent)
    assert summarized(run, tmp_path / "summary.md") == diff, "the model is not needed"


def test_the_header_of_an_earlier_export_is_no_part_of_a_change(run: Path, own: Path, tmp_path: Path) -> None:
    first = summarized(run, tmp_path / "summary.md")
    yours = run / "yours" / "digits" / "config.pbtxt"
    yours.write_text(with_header(yours.read_text(), ("of an earlier run",)))
    diff = summarized(run, tmp_path / "summary.md")
    changed = [line for line in diff.splitlines() if line[0] in "+-"]
    assert changed == [line for line in first.splitlines() if line[0] in "+-"]
    assert patched(yours.read_text(), diff) == with_header(patched(own.read_text(), first), ("of an earlier run",))


def test_a_report_is_made_where_the_best_fits_your_files_no_more(run: Path, own: Path, tmp_path: Path) -> None:
    before = summarized(run, tmp_path / "summary.md")
    own.write_text(own.read_text().replace("dynamic_batching { }", "dynamic_batching { preferred_batch_size: [ 8 ] }"))
    assert "preferred" in export(run, "--diff", code=3).stderr
    assert summarized(run, tmp_path / "summary.md") == before, "the run has kept both sides of the change"


@pytest.mark.parametrize(
    ("came_of_it", "said"),
    [
        ({"state": "refused", "points": []}, "trial 2 was not measured: the server refused it in the run"),
        ({"points": [point(violations={"p99": 0.5})]}, "trial 2 was measured in the search, where it missed the SLO"),
    ],
    ids=["refused", "missed"],
)
def test_an_export_of_what_did_not_do_says_so_in_the_file_and_beside_it(
    came_of_it: dict[str, object], said: str, small_study: WriteStudy, own: Path, tmp_path: Path
) -> None:
    run = written_run(small_study(), tmp_path / "run", TUNED, {**TUNED, "instances": 1})
    found = read_result(run)
    changed = found.trial(2).model_copy(update=came_of_it)
    (run / "result.json").write_text(to_json(found.model_copy(update={"trials": [*found.trials[:2], changed]})))
    ended = export(run, "--trial", 2, "--apply")
    assert f"{said}; it is exported all the same" in ended.stderr
    assert own.read_text().splitlines()[2] == f"{MARK}{said.removeprefix('trial 2 was ')}"
    assert "all the same" not in export(run, "--trial", 1, "--diff").stderr


def test_a_run_that_kept_no_files_has_the_change_of_a_new_export(run: Path, tmp_path: Path) -> None:
    first = summarized(run, tmp_path / "summary.md")
    shutil.rmtree(run / "yours")
    assert summarized(run, tmp_path / "summary.md") == first


def summarized(run: Path, summary: Path) -> str:
    """Write a run's report again, and return the change that its summary has."""
    ended = CliRunner().invoke(cli.app, ["report", str(run), "--markdown", str(summary)])
    assert ended.exit_code == 0, ended.stderr
    found = re.search(r"^```diff\n(.*?)^```$", summary.read_text(), re.MULTILINE | re.DOTALL)
    assert found, summary.read_text()
    return found[1]


def patched(text: str, diff: str) -> str:
    """Apply a unified diff, checking every line of it."""
    lines, at, out = re.findall(r"[^\n]*\n|[^\n]+", text), 0, []
    pieces = diff.split("\n")[2:-1]
    for index, piece in enumerate(pieces):
        bare = index + 1 < len(pieces) and pieces[index + 1].startswith("\\")
        line = piece[1:] + ("" if bare else "\n")
        if piece.startswith("@@"):
            start = int(piece.split()[1].split(",")[0][1:]) - 1
            out += lines[at:start]
            at = start
        elif piece[0] in " -":
            assert lines[at] == line
            at += 1
        if piece[0] in " +":
            out.append(line)
    return "".join([*out, *lines[at:]])


# -- places that cannot be written, and options that do not fit --


def test_a_read_only_file_is_left_alone(run: Path, own: Path) -> None:
    own.chmod(0o444)
    before = own.read_bytes()
    ended = export(run, "--apply", code=2)
    assert "config.pbtxt: is read-only; make it writable (chmod u+w), or write elsewhere with --to DIR" in ended.stderr
    assert own.read_bytes() == before


def test_a_model_that_is_gone_is_said(run: Path, own: Path) -> None:
    shutil.rmtree(own.parent)
    said = export(run, "--apply", code=2).stderr
    assert "an export needs the study" in said
    assert "model: no model 'digits' in " in said


def test_a_slip_in_the_users_file_is_said_with_its_place(run: Path, own: Path) -> None:
    own.write_text(own.read_text() + "instance_group [\n")
    said = export(run, "--diff", code=2).stderr
    assert "its model, and they cannot be read again: " in said
    assert str(Path("digits/config.pbtxt")) in said


def test_what_was_measured_with_memory_of_gpus_is_exported_where_there_is_none(
    small_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("targets.triton.cuda.LIBRARIES", ())
    monkeypatch.setattr("targets.triton.cuda.find_library", lambda _: None)
    target = {"kind": "triton", "model": "digits", "repository": "models", "tensors": "cuda_shared_memory"}
    run = written_run(small_study(target=target, space={"max_batch_size": [4, 8], "concurrency": 4}),
                      tmp_path / "run", {"max_batch_size": 4})  # fmt: skip
    assert "+max_batch_size: 4" in export(run, "--diff").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --to DIR, --apply"),
        (["--apply", "--to", "out"], "--apply writes into your own files"),
        (["--repository"], "--repository goes with --to DIR"),
        (["--to", "out", "--link"], "--link goes with --repository"),
        (["--to", "out", "--reload", "localhost:8000"], "--reload goes with --apply"),
        (["--as", "command", "--image", "x"], "--image goes with --as docker"),
        (["--diff", "--trial", "1", "--pick", "fastest"], "--trial names a configuration, and --pick chooses one"),
        (["--diff", "--trial", "1", "--pick", "best"], "--trial names a configuration, and --pick chooses one"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments: list[str], message: str, run: Path) -> None:
    ended = export(run, *arguments, code=2)
    (said,) = ended.stderr.splitlines()
    assert said.startswith("tune: ")
    assert message in said


# -- a whole repository, and how a server is started on it --


def test_a_copied_repository_is_served_by_the_command_that_is_printed(run: Path, tmp_path: Path) -> None:
    """The commands are those of docs/commands/export.md and docs/triton.md."""
    out = tmp_path / "out"
    ended = export(run, "--repository", "--to", out, "--as", "command", "--verify")
    assert {path.name for path in (out / "digits").iterdir()} == {"1", "config.pbtxt"}
    assert not list(out.rglob("__pycache__"))
    assert values(out / "digits" / "config.pbtxt") == TUNED
    assert "loaded by the server as it is written, and asked once" in ended.stderr
    assert "digits copied" in ended.stderr
    log = (run / "export-log.txt").read_text()
    assert re.search(rf"model_repository_path\[0\] +\| {re.escape(str(out))} ", log), "it was started on the copy"
    port = choose_ports({"http": None})["http"]
    with triton_of(words(ended.stdout), tmp_path, port) as url:
        assert loaded(url, "digits") == TUNED


def test_the_same_is_printed_for_a_container(run: Path, own: Path, tmp_path: Path) -> None:
    ended = export(run, "--as", "docker", "--image", "ours:1")
    assert f"--volume={own.parents[1]}:/models:ro" in ended.stdout
    assert "ours:1 tritonserver" in ended.stdout
    assert "write the configuration into them with --apply" in ended.stderr
    (container,) = yaml.safe_load(export(run, "--as", "kubernetes", "--to", tmp_path / "out").stdout)
    assert container["args"] == ["--model-repository=/models", "--model-control-mode=explicit", "--load-model=digits"]


def test_weights_are_linked_when_asked(run: Path, own: Path, tmp_path: Path) -> None:
    ended = export(run, "--repository", "--link", "--to", tmp_path / "out")
    assert "linked" in ended.stderr
    weights = next((tmp_path / "out" / "digits" / "1").glob("*.onnx"))
    assert weights.samefile(own.parent / "1" / weights.name)
    assert not (tmp_path / "out" / "digits" / "config.pbtxt").samefile(own)
    assert values(own)["max_batch_size"] == 8


def test_a_repository_is_not_copied_over_another(run: Path, own: Path) -> None:
    ended = export(run, "--repository", "--to", own.parents[1], code=2)
    assert "digits: stands there already; give an empty folder with --to" in ended.stderr


# -- the server that runs --


class _Server:
    """A tritonserver that a user has started: its process and its URL."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self._process, self.url = process, url

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def triton_of(command: list[str], workdir: Path, port: int) -> _Server:
    """Start what a user would, with the server of the wheel in place of the word `tritonserver`."""
    installation = find_installation(None, workdir)
    program, *arguments = command
    assert program == "tritonserver"
    ours = [f"--http-port={port}", "--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false"]
    started = [str(installation.executable), *installation.flags, *arguments, *ours, "--exit-timeout-secs=2"]
    process = subprocess.Popen(started, env={**os.environ, **installation.env}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not _ready(port) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    assert process.poll() is None
    return _Server(process, f"http://127.0.0.1:{port}")


def _ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def loaded(url: str, model: str) -> dict[str, object]:
    with urlopen(f"{url}/v2/models/{model}/config") as answer:
        return dict(model_config.knob_values(model_config.from_loaded(json.load(answer))))


@pytest.fixture
def server(own: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a Triton on the user's repository, with the model loaded as the user has it."""
    port = choose_ports({"http": None})["http"]
    command = ["tritonserver", f"--model-repository={own.parents[1]}", "--model-control-mode=explicit",
               "--load-model=digits"]  # fmt: skip
    with triton_of(command, tmp_path, port) as url:
        yield url


def test_a_server_loads_what_was_written_and_has_it_read_back(run: Path, own: Path, server: str) -> None:
    """The command is that of docs/triton.md."""
    assert loaded(server, "digits")["max_batch_size"] == 8
    ended = export(run, "--apply", "--reload", server)
    assert "has loaded it, and has what was written" in ended.stderr
    assert "config.pbtxt.bak" in ended.stdout
    assert loaded(server, "digits") == TUNED == values(own)


def test_a_server_gets_back_what_it_had(bare: Path, server: str) -> None:
    before = loaded(server, "digits")
    export(bare, "--apply", "--reload", server)
    assert loaded(server, "digits") == TUNED
    export(bare, "--trial", 0, "--apply", "--reload", server)
    assert loaded(server, "digits") == before


def test_what_the_server_refuses_is_taken_back(run: Path, own: Path, server: str) -> None:
    own.write_text(own.read_text() + "version_policy { specific { versions: 9 } }\n")
    before = own.read_text()
    ended = export(run, "--apply", "--reload", server, code=3)
    assert "the server refused" in ended.stderr
    assert "your files are as they were before" in ended.stderr
    assert own.read_text() == before
    for more in (["--apply"], ["--repository", "--to", run.parent / "out"]):
        said = export(run, "--verify", *more, code=3).stderr
        assert re.search(r"the export was not verified: .*version.*; nothing was written", said)
        assert own.read_text() == before
        assert not (run.parent / "out" / "digits").exists()
    assert [path.name for path in own.parent.iterdir() if path.name.startswith("config")] == ["config.pbtxt"]
    assert loaded(server, "digits")["max_batch_size"] == 8


def test_a_server_on_another_repository_is_noticed(run: Path, own: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(own.parents[1], tmp_path / "other"))
    port = choose_ports({"http": None})["http"]
    command = ["tritonserver", f"--model-repository={other}", "--model-control-mode=explicit", "--load-model=digits"]
    with triton_of(command, tmp_path, port) as url:
        ended = export(run, "--apply", "--reload", url, code=3)
    assert "max_batch_size: asked 4, loaded 8" in ended.stderr
    assert "is it on the same model repository?" in ended.stderr
    assert re.search(r"the files are written; what stood there is kept in .*config\.pbtxt\.bak", ended.stderr)
    assert values(own) == TUNED


@pytest.mark.parametrize(
    ("url", "message"),
    [("http://127.0.0.1:{port}", "does not answer"), ("ftp://here", "give the URL of Triton's HTTP port")],
)
def test_nothing_is_written_for_a_server_that_is_not_there(url: str, message: str, run: Path, own: Path) -> None:
    before = own.read_bytes()
    ended = export(run, "--apply", "--reload", url.format(port=choose_ports({"http": None})["http"]), code=3)
    assert message in ended.stderr
    assert own.read_bytes() == before


def test_without_a_server_it_says_what_makes_one_take_it(run: Path) -> None:
    """A trial is verified as docs/commands/export.md does."""
    ended = export(run, "--trial", 1, "--verify", "--apply")
    assert "loaded by the server as it is written, and asked once" in ended.stderr
    assert "POST /v2/repository/models/digits/load" in ended.stderr


# -- an ensemble --


TENSOR = "data_type: TYPE_FP32 dims: [ 4 ]"
PART = f"""backend: "python"
max_batch_size: 8
input [ {{ name: "X" {TENSOR} }} ]
output [ {{ name: "Y" {TENSOR} }} ]
"""
ENSEMBLE = f"""platform: "ensemble"  # of two
max_batch_size: 8
input [ {{ name: "X" {TENSOR} }} ]
output [ {{ name: "Z" {TENSOR} }} ]
ensemble_scheduling {{
  step [
    {{
      model_name: "first" model_version: -1
      input_map {{ key: "X" value: "X" }} output_map {{ key: "Y" value: "between" }}
    }},
    {{
      model_name: "second" model_version: -1
      input_map {{ key: "X" value: "between" }} output_map {{ key: "Y" value: "Z" }}
    }}
  ]
}}
"""


def of_an_ensemble(small_study: WriteStudy, tmp_path: Path, **sections: object) -> Path:
    """Write a study of an ensemble of two models, in place of the digits."""
    shutil.rmtree(tmp_path / "models" / "digits")
    for name, text in {"first": PART, "second": PART, "digits": ENSEMBLE}.items():
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "config.pbtxt").write_text(text)
        if text == PART:
            (tmp_path / "models" / name / "1" / "model.py").write_text(MODEL)
    np.savez(tmp_path / "rows.npz", X=np.zeros((8, 4), np.float32))
    return small_study(
        target={"kind": "triton", "model": "digits", "repository": "models"},
        workloads={"steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "rows.npz"}}},
        slo={"p99": "300 ms"},
        **sections,
    )


def test_an_ensemble_is_copied_with_its_models_and_served(small_study: WriteStudy, tmp_path: Path) -> None:
    study = of_an_ensemble(small_study, tmp_path, space={"max_batch_size": [4, 8], "concurrency": 1})
    run, out = written_run(study, tmp_path / "run", {"max_batch_size": 4}), tmp_path / "out"
    ended = export(run, "--repository", "--to", out, "--as", "command", "--verify")
    assert "loaded by the server" in ended.stderr
    assert sorted(path.name for path in out.iterdir()) == ["digits", "first", "second"]
    port = choose_ports({"http": None})["http"]
    with triton_of(words(ended.stdout), tmp_path, port) as url:
        assert loaded(url, "digits") == {"max_batch_size": 4}
        assert loaded(url, "second")["max_batch_size"] == 8


def test_the_way_back_takes_the_composing_models_along(small_study: WriteStudy, tmp_path: Path) -> None:
    composing = {"first": {"instances": [1, 2]}, "second": {"max_queue_delay": ["0 us", "100 us"]}}
    study = of_an_ensemble(small_study, tmp_path, space={"composing": composing, "concurrency": 1})
    models, out = tmp_path / "models", tmp_path / "out"
    before = {path: path.read_bytes() for path in models.glob("*/config.pbtxt")}
    run = written_run(study, tmp_path / "run", {"first.instances": 2, "second.max_queue_delay": 0.0001})
    export(run, "--apply")
    assert "count: 2" in (models / "first" / "config.pbtxt").read_text()
    export(run, "--trial", 0, "--repository", "--to", out)
    assert {path: (out / path.relative_to(models)).read_bytes() for path in before} == before
    export(run, "--trial", 0, "--apply")
    assert {path: path.read_bytes() for path in before} == before


def test_the_way_back_takes_along_what_another_trial_than_the_best_has_changed(
    small_study: WriteStudy, tmp_path: Path
) -> None:
    composing = {"first": {"instances": [1, 2]}, "second": {"max_queue_delay": ["0 us", "100 us"]}}
    study = of_an_ensemble(small_study, tmp_path, space={"composing": composing, "concurrency": 1})
    models = tmp_path / "models"
    before = {path: path.read_bytes() for path in models.glob("*/config.pbtxt")}
    best, second = {"first.instances": 2}, {"second.max_queue_delay": 0.0001}
    run = written_run(study, tmp_path / "run", best, second)
    assert not (run / "best" / "second").exists()
    assert "second" not in summarized(run, tmp_path / "summary.md")
    port = choose_ports({"http": None})["http"]
    command = ["tritonserver", f"--model-repository={models}", "--model-control-mode=explicit", "--load-model=digits"]
    with triton_of(command, tmp_path, port) as url:
        had = loaded(url, "second")
        export(run, "--trial", 2, "--apply", "--reload", url)
        assert loaded(url, "second")["max_queue_delay"] == 0.0001
        ended = export(run, "--trial", 0, "--apply", "--reload", url)
        assert "has changed since the run" not in ended.stderr
        assert loaded(url, "second") == had
    assert {path: path.read_bytes() for path in before} == before
