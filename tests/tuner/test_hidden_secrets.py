"""A study that has a secret itself: what is written of a run has `***` in its place, and the run is resumed."""

import json
from pathlib import Path

import pytest
import yaml

from tuner.document import study_info
from tuner.exporting import _with_secrets
from tuner.hosts.joining import Terms, _about
from tuner.rundir import RunDirectoryError, StudyMark, open_run
from tuner.study.hidden import hidden, hidden_overrides, hidden_text, secrets_of, tell_of_secrets
from tuner.study.load import Study, load_study

KEY = "sk-not-for-anyone"
STUDY = """\
study: keys  # sk
target:
  kind: command
  command: [server, --token, "KEY", '--api-key=KEY', --port, "{port}"]
  env: {HF_TOKEN: KEY, SHOWN_TOKEN: $HF_TOKEN, COUNT: "4"}
  request:
    path: /v1
    headers: &all
      Authorization: 'Bearer KEY'
      X-Trace: on
  eos_token: <|end|>
space: {bos_token: [first, second]}
"""


@pytest.fixture
def text() -> str:
    return STUDY.replace("KEY", KEY)


def test_a_secret_is_masked_where_it_stands_and_the_rest_is_as_it_was(text: str) -> None:
    shown = hidden_text(text)
    assert KEY not in shown
    assert yaml.safe_load(shown) == hidden(yaml.safe_load(text))
    assert '  command: [server, --token, "***", \'--api-key=***\', --port, "{port}"]\n' in shown
    assert '  env: {HF_TOKEN: "***", SHOWN_TOKEN: $HF_TOKEN, COUNT: "4"}\n' in shown
    assert shown.endswith(text[text.index("      X-Trace") :])
    assert hidden_text(shown) == shown


@pytest.mark.parametrize("written", ["|\n  two\n  lines\n", '"secr\\x65t"', "'it''s'", "12345", "2024-01-01"])
def test_a_secret_is_masked_however_it_is_written(written: str) -> None:
    text = f"target:\n password: {written}\n after: 1\n" if "\n" not in written else f"password: {written}after: 1\n"
    shown = hidden_text(text)
    assert shown != text
    assert yaml.safe_load(shown) == hidden(yaml.safe_load(text))
    assert "***" in json.dumps(yaml.safe_load(shown))


@pytest.mark.parametrize(
    "text", ["", "a: [", "- 1\n", "study: plain\n", "target: {headers: {Authorization: 'Bearer ${T}'}}"]
)
def test_what_has_no_secret_is_left_alone(text: str) -> None:
    assert hidden_text(text) == text


def test_overrides_are_masked_too() -> None:
    given = [f"target.headers.authorization=Bearer {KEY}", "search.seed=1", f"target.env={{A: x, T_TOKEN: {KEY}}}"]
    assert hidden_overrides(given) == [
        'target.headers.authorization="***"',
        "search.seed=1",
        'target.env={"A": "x", "T_TOKEN": "***"}',
    ]


REMOTE = """\
study: remote
target:
  kind: kserve
  url: http://127.0.0.1:1
  model: digits
  headers: {Authorization: 'Bearer KEY'}
workloads: {steady: {arrival: {process: closed}, requests: {source: dataset, path: requests.npz}}}
space: {concurrency: [1, 2]}
slo: {p99: 1 s}
objectives: [maximize goodput]
search: {budget: {trials: 2}}
"""


def remote(folder: Path, key: str, *overrides: str) -> Study:
    path = folder / "study.yaml"
    path.write_text(REMOTE.replace("KEY", key))
    return load_study(path, overrides)


def mark(study: Study) -> StudyMark:
    return StudyMark(study.fingerprint(), study.fingerprint_of_files(), study.shown)


def test_neither_result_nor_run_directory_nor_shared_storage_has_it_and_the_run_is_resumed(tmp_path: Path) -> None:
    study = remote(tmp_path, KEY, f"target.headers.cookie=id={KEY}")
    info = study_info(study)
    assert info.overrides == ['target.headers.cookie="***"']
    assert info.text == (tmp_path / "study.yaml").read_text().replace(f"Bearer {KEY}", "***")
    made = open_run(tmp_path / "runs", "remote", mark(study), None, fresh=False)
    about = _about(study, Terms("shared", "host", 30.0, 1.0, 0.1, groups=False))
    for written in (info.model_dump_json(), (made.path / "run.json").read_text(), json.dumps(about, default=str)):
        assert KEY not in written
        assert "***" in written
    assert open_run(tmp_path / "runs", "remote", mark(study), None, fresh=False) == made


def test_a_run_is_not_resumed_with_another_secret_and_names_its_place_alone(tmp_path: Path) -> None:
    open_run(tmp_path / "runs", "remote", mark(remote(tmp_path, KEY)), None, fresh=False)
    with pytest.raises(RunDirectoryError) as refused:
        open_run(tmp_path / "runs", "remote", mark(remote(tmp_path, "another-one")), None, fresh=False)
    assert "target.headers.Authorization, of which no run keeps the value, is another one now" in str(refused.value)
    assert "another-one" not in str(refused.value)


def test_a_study_is_read_again_with_its_secrets_while_its_file_says_what_it_said(tmp_path: Path) -> None:
    study = remote(tmp_path, KEY)
    text = study.shown_text
    assert _with_secrets(study.source.path, text) == study.source.text
    study.source.path.write_text(study.source.text.replace("p99: 1 s", "p99: 2 s"))
    assert _with_secrets(study.source.path, text) == text
    assert _with_secrets(tmp_path / "gone.yaml", text) == text


def test_the_remedy_names_the_line_and_the_variable(tmp_path: Path) -> None:
    study, said = remote(tmp_path, KEY), list[str]()
    tell_of_secrets(study.source, study.given, said.append)
    (told,) = said
    assert told.startswith(f"{tmp_path / 'study.yaml'}:6: target.headers.Authorization: is secret")
    assert "`${NAME}`" in told
    assert KEY not in told
    assert secrets_of(remote(tmp_path, "${KEY}").given) == {}
