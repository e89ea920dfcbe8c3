"""The study that `tune init` writes for a server with OpenAI's API: it is valid, and it runs."""

from pathlib import Path

import pytest

from tests.openai.conftest import token_server
from tests.support.tune import tune
from tuner.results import read_result
from tuner.study.load import load_study
from tuner.wiring import prepare
from workloads.requests import Prompts

SMALL = [
    "--trials", "1", "--set", "space.rate=[20/s, 40/s]", "--set", "slo={ttft_p90: 900 ms, error_rate: 10%}",
    "--set", "measure={warmup: 0.1 s, max_warmup: 0.2 s, window: 0.5 s, max_window: 1 s}",
    "--set", "confirm={redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.5 s, candidates: 1}",
]  # fmt: skip
DECIDED = (0, 5)
"""So short a confirmation may leave an SLO undecided."""


def test_a_server_that_wants_a_key_gets_a_study_that_runs(tmp_path: Path) -> None:
    with token_server("--key", "secret") as url:
        made = tune("init", "--url", url, "--api-key-env", "CLOCK_KEY", cwd=tmp_path, CLOCK_KEY="secret")
        assert made.returncode == 0, made.stderr
        assert made.stdout == "study.yaml  (next: tune study.yaml)\n"
        assert "secret" not in (tmp_path / "study.yaml").read_text()
        ended = tune("study.yaml", *SMALL, cwd=tmp_path, CLOCK_KEY="secret")
    assert ended.returncode in DECIDED, ended.stderr
    assert load_study(tmp_path / "study.yaml").spec.target.kind == "openai"
    points = read_result(tmp_path / "runs" / "clock" / "latest").trial(0).points
    assert [point.load.level for point in points] == [20, 40]
    for point in points:
        assert point.outcomes["ok"] > 0
        assert point.metrics["output_tokens_mean"].value > 8
        assert not any("tokens" in one for one in point.validity.warnings), "their number is told as the study says"


@pytest.mark.parametrize(("context", "prompt", "answer"), [(100, 50, 25), (8, 4, 2), (4096, 1500, 400)])
def test_prompts_and_answers_fit_into_the_context(context: int, prompt: int, answer: int, tmp_path: Path) -> None:
    with token_server("--owner", "vllm", "--context", str(context)) as url:
        assert tune("init", "--url", url, cwd=tmp_path).returncode == 0
    text = (tmp_path / "study.yaml").read_text()
    assert "behind OpenAI's API (vllm)" in text
    assert "\n  ignore_eos: true" in text
    (one,) = prepare(load_study(tmp_path / "study.yaml"), tmp_path / "log.txt").workloads
    prompts = one.classes[0].dataset
    assert isinstance(prompts, Prompts)
    assert max(len(str(text).split()) for text in prompts.texts) <= prompt
    assert max(prompts.output_tokens) <= answer


def test_several_models_are_listed_with_the_command_of_each(tmp_path: Path) -> None:
    with token_server("--models", "one", "a b") as url:
        made = tune("init", "--url", url, cwd=tmp_path)
        assert made.returncode == 2
        commands = [line.strip() for line in made.stderr.splitlines()[1:]]
        assert commands == [f"tune init --url {url} --model {name}" for name in ("'a b'", "one")]
        assert tune("init", "--url", url, "--model", "a b", cwd=tmp_path).returncode == 0
    assert load_study(tmp_path / "study.yaml").spec.study == "a-b"


def test_a_name_cannot_write_into_the_study(tmp_path: Path) -> None:
    """What a server says stands in the comment and behind keys as one line of text."""
    with token_server("--models", "x\nstudy: y", "--owner", "me\nstudy: z") as url:
        assert tune("init", "--url", url, cwd=tmp_path).returncode == 0
    spec = load_study(tmp_path / "study.yaml").spec
    assert spec.study == "x-study--y"
    assert spec.target.model_dump()["model"] == "x\nstudy: y"


def test_what_was_looked_at_is_named_where_the_server_is_of_no_known_kind(tmp_path: Path) -> None:
    with token_server() as url:
        made = tune("init", "--url", f"{url}/elsewhere", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (3, "")
    assert made.stderr == (
        f"tune: {url}/elsewhere: GET /v1/models: HTTP 404, and GET /v2/health/ready: HTTP 404; give the URL of a "
        "server with OpenAI's API or of the Open Inference Protocol (KServe v2)\n"
    )


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = tune("init", "--url", "http://127.0.0.1:9", "--api-key-env", "NO_SUCH_KEY", cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr == (
        "tune: --api-key-env: the environment variable NO_SUCH_KEY is not set; export the key in it\n"
    )
