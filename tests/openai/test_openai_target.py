"""The OpenAI target: requests, options, and what is said of a server that cannot be used."""

import json
import math
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from targets.base import ConfigRefused, Context, ServerHung, Target, TargetError, Tls
from targets.openai.judge import read_event
from targets.openai.options import OpenAIOptions, RequestOptions
from targets.openai.target import OpenAITarget
from targets.openai.wire import address_of, endpoint
from targets.testing import RemoteTargetContract
from tests.openai.conftest import token_server
from tuner.study.load import load_study
from tuner.study.source import StudyError
from workloads.requests import Dataset, Prompts

PROMPTS = Prompts(["count=3 hello"] * 10, np.full(10, 3))
IDS = Prompts([[5, 6, 7]], np.array([4]))
Serve = Callable[..., str]


def make(folder: Path, url: str, **options: object) -> OpenAITarget:
    values = {"url": url, "model": "clock", **options}
    return OpenAITarget(OpenAIOptions.model_validate(values), Context(folder, folder / "log.txt"))


class TestOpenAI(RemoteTargetContract):
    counts = False
    url = ""

    @pytest.fixture(autouse=True)
    def _served(self, url: str) -> None:
        type(self).url = url

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        return make(folder, cls.url, **options)

    @staticmethod
    def requests() -> Prompts:
        return PROMPTS


def body_of(prompts: Prompts, usage: str = "final", **options: object) -> tuple[str, dict[str, object]]:
    """Return head and body of the first request."""
    made = endpoint(
        prompts,
        model="m",
        address=address_of("http://host:81/api"),
        options=RequestOptions(kind="openai", **options),
        usage=usage,
        headers={"Authorization": "Bearer secret"},
    )
    head, _, body = made.requests[0].decode().partition("\r\n\r\n")
    assert f"Content-Length: {len(body)}" in head
    return head, json.loads(body)


def test_a_chat_sends_the_prompt_as_the_users_message() -> None:
    head, body = body_of(PROMPTS)
    assert head.startswith("POST /api/v1/chat/completions HTTP/1.1\r\nHost: host:81\r\n")
    assert "Authorization: Bearer secret" in head
    assert body == {
        "model": "m",
        "stream": True,
        "temperature": 0.0,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "count=3 hello"}],
        "max_tokens": 3,
    }


def test_a_completion_takes_token_ids_as_they_are() -> None:
    head, body = body_of(IDS, "continuous", endpoint="completions", ignore_eos=True, body={"top_k": 5})
    assert head.startswith("POST /api/v1/completions ")
    assert body["prompt"] == [5, 6, 7]
    assert (body["max_tokens"], body["ignore_eos"], body["top_k"]) == (4, True, 5)
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_a_server_that_knows_no_usage_is_not_asked_for_it() -> None:
    assert "stream_options" not in body_of(PROMPTS, "none")[1]


def test_a_chat_takes_no_token_ids(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="a chat takes texts, not token ids; give `endpoint: completions`"):
        make(tmp_path, "http://127.0.0.1:1").check_requests(IDS)


def test_tensors_are_no_prompts(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="takes prompts, not tensors"):
        make(tmp_path, "http://127.0.0.1:1").check_requests(Dataset({"X": np.zeros(3)}))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", ("127.0.0.1", 8000, False, "/v1")),
        ("http://127.0.0.1:8000/v1/", ("127.0.0.1", 8000, False, "/v1")),
        ("https://api.example.org", ("api.example.org", 443, True, "/v1")),
        ("https://example.org/llm/v1", ("example.org", 443, True, "/llm/v1")),
        ("http://[::1]:81", ("::1", 81, False, "/v1")),
    ],
)
def test_a_url_leads_to_host_port_and_path(url: str, expected: tuple[str, int, bool, str]) -> None:
    found = address_of(url)
    assert (found.host, found.port, found.secure, found.path) == expected


@pytest.mark.parametrize("url", ["http://", "http://host:port", "http://host:99999"])
def test_a_url_that_leads_nowhere_is_named(url: str) -> None:
    with pytest.raises(TargetError, match=r"target\.url"):
        address_of(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:hunter2@host:8000/v1", "http://***@host:8000/v1"),
        ("https://host/v1?api_key=hunter2", "https://host/v1?***"),
        ("https://host/v1#hunter2", "https://host/v1#***"),
        ("me:hunter2@host", "***@host"),
    ],
)
def test_a_secret_in_the_url_would_not_be_sent_and_is_refused_without_being_shown(
    url: str, shown: str, tmp_path: Path
) -> None:
    study = (
        "study: one\nworkloads:\n  chat:\n    arrival: {process: closed}\n"
        "    requests: {source: synthetic, input_tokens: 8, output_tokens: 8}\n"
        "space: {concurrency: [1]}\nslo: {}\n"
        f"target: {{kind: openai, model: m, url: '{url}'}}\n"
    )
    (tmp_path / "study.yaml").write_text(study)
    with pytest.raises(StudyError, match=r"target\.url: expected") as refused:
        load_study(tmp_path / "study.yaml")
    assert f"but got {shown!r}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_what_paretune_gives_itself_cannot_be_given_in_the_body() -> None:
    with pytest.raises(ValidationError, match="`stream` is given by Paretune"):
        RequestOptions(kind="openai", body={"stream": False})


@pytest.mark.parametrize(
    "value",
    [date(2024, 1, 1), {"since": [date(2024, 1, 1)]}, {date(2024, 1, 1): 1}, b"\x00", math.inf, [math.nan], {1, 2}],
)
def test_a_field_of_the_body_that_is_no_json_is_named(value: object) -> None:
    with pytest.raises(
        ValidationError, match=r"`metadata` cannot be sent as JSON .*; put a text, like a date, in quotes"
    ):
        RequestOptions(kind="openai", body={"top_k": 5, "metadata": value})


def test_a_model_that_the_server_does_not_have_is_named_with_a_close_one(tmp_path: Path, url: str) -> None:
    with pytest.raises(TargetError, match="has no model 'clocks'; did you mean 'clock'"):
        make(tmp_path, url, model="clocks").start()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerHung, match=r"http://127\.0\.0\.1:1 does not answer"):
        make(tmp_path, "http://127.0.0.1:1").start()


def test_nothing_of_a_remote_server_can_be_changed(tmp_path: Path, url: str) -> None:
    target = make(tmp_path, url)
    target.start()
    with pytest.raises(ConfigRefused, match="not batch"):
        target.deploy({"batch": 3}, "one")


def test_a_key_comes_from_the_environment_and_is_needed_for_everything(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve("--key", "sesame")
    with pytest.raises(TargetError, match=r"refuses us \(HTTP 401\); name the variable .* `target.api_key_env`"):
        make(tmp_path, url).start()
    monkeypatch.setenv("THE_KEY", "abracadabra")
    with pytest.raises(TargetError, match="check the key in THE_KEY"):
        make(tmp_path, url, api_key_env="THE_KEY").start()
    monkeypatch.setenv("THE_KEY", "sesame")
    target = make(tmp_path, url, api_key_env="THE_KEY")
    target.start()
    target.verify(target.export({}), PROMPTS)
    assert "sesame" not in json.dumps([dict(target.environment()), OpenAIOptions(url=url, model="clock").model_dump()])


@pytest.mark.parametrize(("value", "message"), [("", "is not set"), ("a\nb", "cannot be an API key")])
def test_a_key_that_is_none_is_named(tmp_path: Path, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", value)
    with pytest.raises(TargetError, match=f"THE_KEY.*{message}"):
        make(tmp_path, "http://127.0.0.1:1", api_key_env="THE_KEY").start()


def test_a_server_that_ends_is_not_alive(tmp_path: Path) -> None:
    with token_server() as url:
        target = make(tmp_path, url)
        target.start()
        assert target.alive()
    assert not target.alive()


def test_a_secure_server_is_asked_over_tls(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    made = make(tmp_path, "https://127.0.0.1:1", ca="ca.pem").encoded(PROMPTS)
    assert made.tls == Tls(tmp_path / "ca.pem")
    with pytest.raises(TargetError, match=r"target.ca: .*nothing.pem: no such file"):
        make(tmp_path, "https://127.0.0.1:1", ca="nothing.pem")


@pytest.mark.parametrize("data", [b"[1]", b"{", b"3"])
def test_an_event_that_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|expected"):
        read_event(data)


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"reasoning_content": "so"}},
        {"delta": {"tool_calls": [{"function": {"arguments": "{"}}]}},
        {"text": " "},
    ],
)
def test_thoughts_and_calls_of_tools_are_tokens_too(choice: dict[str, object]) -> None:
    assert read_event(json.dumps({"choices": [choice]}).encode()).tokens == 1
    assert read_event(json.dumps({"choices": [{"delta": {"role": "assistant", "content": ""}}]}).encode()).tokens == 0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("count=3 error_after=1", "out of memory"),
        ("count=3 junk_after=1", "HTTP 200 with an event that is none: b'{so'"),
        ("count=3 done=0", "HTTP 200"),
        ("status=503", "as asked"),
    ],
)
def test_an_answer_that_fails_is_not_taken_for_one_that_serves(
    tmp_path: Path, url: str, script: str, message: str
) -> None:
    target = make(tmp_path, url)
    target.start()
    with pytest.raises(TargetError, match=message):
        target.verify(target.export({}), Prompts([script], np.array([3])))
