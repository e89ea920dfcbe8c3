"""`tune export --verify`: a server loads what is exported before it is written, here the simulated one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.simulated_study import write_simulated_study
from tests.support.written_run import written_run
from tuner import cli

TUNED = {"max_batch_size": 4}
TARGET = "target: {kind: simulated, model: queue, repository: models}"


def export(run: Path, *arguments: object, code: int = 0) -> str:
    """Run `tune export`, in this process; return what it says on stderr, without line ends."""
    ended = CliRunner().invoke(cli.app, ["export", str(run), *map(str, arguments)])
    assert ended.exit_code == code, ended.stderr
    return " ".join(ended.stderr.split())


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_simulated_study(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The user's own file."""
    return tmp_path / "models" / "queue" / "queue.json"


@pytest.fixture
def refused(study: Path) -> Iterator[str]:
    """The reason why a study's server does not start: another program has its port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        study.write_text(study.read_text().replace("repository: models", f"repository: models, http_port: {port}"))
        yield str(port)


def test_it_is_asked_alone_or_before_it_is_written(study: Path, own: Path, tmp_path: Path) -> None:
    run, before = written_run(study, tmp_path / "run", TUNED, {"instances": 2}), own.read_text()
    assert "loaded by the server as it is written, and asked once" in export(run, "--trial", 2, "--verify")
    assert own.read_text() == before
    said = export(run, "--verify", "--apply")
    assert "loaded by the server as it is written, and asked once" in said
    assert '"max_batch_size": 4' in own.read_text()
    assert (run / "export-log.txt").exists()
    assert not (run / "log.txt").exists(), "that is the run's own"


def test_a_copied_folder_is_loaded_from_where_it_stands(study: Path, tmp_path: Path) -> None:
    run, out = written_run(study, tmp_path / "run", TUNED), tmp_path / "out"
    said = export(run, "--repository", "--to", out, "--verify")
    assert said.index("loaded by the server") < said.index("queue copied")
    assert '"max_batch_size": 4' in (out / "queue" / "queue.json").read_text()


def test_nothing_is_written_of_what_no_server_loads(study: Path, own: Path, refused: str, tmp_path: Path) -> None:
    run, before = written_run(study, tmp_path / "run", TUNED), own.read_text()
    said = export(run, "--verify", "--apply", code=3)
    assert said.startswith("tune: the export was not verified: ")
    assert refused in said
    assert said.endswith("; nothing was written")
    assert own.read_text() == before
    (tmp_path / "out" / "other").mkdir(parents=True)
    assert refused in export(run, "--verify", "--repository", "--to", tmp_path / "out", code=3)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("target", "instead"),
    [
        ("kind: kserve", ""),
        (
            "kind: triton, repository: models, launch: remote",
            ": --apply has it load the configuration, and reads it back",
        ),
    ],
)
def test_a_server_that_runs_already_is_none_to_start(
    target: str, instead: str, study: Path, own: Path, tmp_path: Path
) -> None:
    own.with_name("config.pbtxt").write_text(
        'name: "queue" max_batch_size: 8 input { name: "INPUT" data_type: TYPE_FP64 dims: [ 4 ] }'
        ' output { name: "OUTPUT" data_type: TYPE_FP64 dims: [ 4 ] }'
    )
    text = study.read_text().replace(TARGET, f"target: {{{target}, model: queue, url: 'http://127.0.0.1:1'}}")
    study.write_text(text.replace("  max_batch_size: [1, 4, 16]\n  instances: [1, 2]\n", ""))
    run = written_run(study, tmp_path / "run", {})
    said = export(run, "--verify", code=2)
    assert said == (
        "tune: --verify starts a server for the export, and that of this study runs already "
        f"(`target.url`); leave it out{instead}"
    )
