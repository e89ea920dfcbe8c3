"""A whole study of a Triton that runs already, and its answer given to that server."""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import DIGITS, VARIANTS
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.tune import tune
from tests.support.written_run import written_run
from tuner.results import read_result

pytestmark = pytest.mark.long

TUNED = {"max_batch_size": 4, "max_queue_delay": 0.0005, "instances": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignTriton]:
    with foreign_triton(tmp_path_factory.mktemp("remote-study"), "explicit") as one:
        yield one


def write_study(folder: Path, server: ForeignTriton, repository: Path | None, protocol: str = "http") -> Path:
    study = yaml.safe_load((DIGITS.parent / "digits.yaml").read_text())
    study["workloads"] = {"steady": study["workloads"]["steady"]}
    study["workloads"]["steady"]["requests"]["path"] = str(DIGITS / "test.npz")
    own = {} if repository is None else {"repository": str(repository), "variants": VARIANTS}
    study |= {
        "target": {
            "kind": "triton",
            "model": "digits",
            "launch": "remote",
            "protocol": protocol,
            **server.urls(protocol),
            **own,
        },
        "space": {"max_batch_size": [8, 16], "instances": [1, 2], "concurrency": [4]},
        "slo": {"p90": "5 s", "error_rate": "5%"},
        "search": {"budget": {"trials": 2, "time": "5 min"}, "seed": 1, "sampler": "random"},
        "measure": {"warmup": "50 ms", "max_warmup": "50 ms", "window": "100 ms", "max_window": "200 ms"},
        "confirm": {"candidates": 1, "redeployments": 2, "max_redeployments": 2, "rounds": 2, "round": "0.1 s"},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def has(config: Mapping[str, object], tuned: Mapping[str, object]) -> bool:
    """Whether a configuration that a server tells has the batch size and the instances of a tuned one."""
    (group,) = config["instance_group"]  # type: ignore[misc]
    return (config["max_batch_size"], group["count"]) == (tuned["max_batch_size"], tuned["instances"])


def start_anew(server: ForeignTriton) -> None:
    """Have the server read its own file again: a load alone keeps what was loaded over it."""
    server.client.unload_model("digits")
    deadline = time.monotonic() + 60
    while server.client.is_model_ready("digits") and time.monotonic() < deadline:
        time.sleep(0.05)
    server.client.load_model("digits")


def test_a_study_runs_on_a_server_that_is_left_as_it_was_and_gets_the_answer_when_it_is_applied(
    server: ForeignTriton, tmp_path: Path
) -> None:
    repository = Path(shutil.copytree(DIGITS / "models", tmp_path / "models"))
    study, before = write_study(tmp_path, server, repository), server.config()
    ended = tune(study, "--out", "out", cwd=tmp_path)
    assert ended.returncode in (0, 4, 5), ended.stderr
    assert server.config() == before, "it has the configuration that it had"
    result = read_result(tmp_path / "out")
    assert {one.state for one in result.trials} == {"complete"}
    candidate = next(one for one in result.trials if one.config["max_batch_size"] == 16)
    applied = tune("export", "out", "--trial", candidate.number, "--apply", cwd=tmp_path)
    assert applied.returncode == 0, applied.stderr
    assert f"{server.url} has loaded the configuration, and it was read back" in applied.stderr
    assert has(server.config(), candidate.config)
    assert "max_batch_size: 16" in (repository / "digits" / "config.pbtxt").read_text()
    start_anew(server)
    assert server.config() == before, "its own file was not touched: it has another repository"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_whose_files_are_not_known_takes_the_configuration_all_the_same(
    protocol: str, server: ForeignTriton, tmp_path: Path
) -> None:
    run, before = written_run(write_study(tmp_path, server, None, protocol), tmp_path / "run", TUNED), server.config()
    ended = tune("export", run, "--apply", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "when it is started anew it has that of its own file, which is not known here" in ended.stderr
    assert has(server.config(), TUNED)
    start_anew(server)
    assert server.config() == before
    assert "there is nothing to export" in tune("export", run, "--diff", cwd=tmp_path).stderr


def test_what_the_server_refuses_is_taken_back(server: ForeignTriton, tmp_path: Path) -> None:
    repository = Path(shutil.copytree(DIGITS / "models", tmp_path / "models"))
    own = repository / "digits" / "config.pbtxt"
    own.write_text(own.read_text() + "version_policy { specific { versions: 9 } }\n")
    run = written_run(write_study(tmp_path, server, repository), tmp_path / "run", TUNED)
    text, before = own.read_text(), server.config()
    ended = tune("export", run, "--apply", cwd=tmp_path)
    assert ended.returncode == 3
    assert "the server refused it" in ended.stderr
    assert "your files are as they were before" in ended.stderr
    assert own.read_text() == text
    assert server.config() == before


def test_a_server_without_model_control_gets_its_file_and_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with foreign_triton(tmp_path / "server", "none") as server:
        repository = Path(shutil.copytree(DIGITS / "models", tmp_path / "models"))
        study = write_study(tmp_path, server, repository)
        given = yaml.safe_load(study.read_text()) | {"space": {"concurrency": [4]}}
        study.write_text(yaml.safe_dump(given))
        listed = tune("knobs", "triton", "--study", study, "--json", cwd=tmp_path)
        found = {row["knob"]: row for row in json.loads(listed.stdout)}
        assert "not here: " in found["instances"]["legal"]
        version = server.client.get_server_metadata()["version"]
        assert (found["warmup_count"]["server"], found["warmup_count"]["too_old"]) == (version, False)
        run = written_run(study, tmp_path / "run", TUNED)
        ended = tune("export", run, "--apply", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "does not let models be loaded" in ended.stderr
        assert "max_batch_size: 4" in (repository / "digits" / "config.pbtxt").read_text()
        assert server.config()["max_batch_size"] == 8
