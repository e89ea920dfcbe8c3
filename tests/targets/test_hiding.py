"""What is secret in a configuration, and where it is not shown."""

from pathlib import Path

import pytest

from reports import html
from targets.hiding import secrets_in, shown_url, without
from targets.log import DeploymentLog
from tests.support.written_run import written_run
from tuner.cli.writing import write_reports
from tuner.results import read_result
from tuner.rundir import RunDirectory

KEY = "sk-not-for-anyone"
STUDY = """\
study: keys
target: {kind: sglang, config: sglang.yaml}
workloads:
  chat:
    arrival: {process: closed}
    requests: {source: synthetic, input_tokens: 8, output_tokens: 8}
space: {page_size: [1, 16], concurrency: [1]}
slo: {ttft_p99: 1 s}
objectives: [maximize goodput]
search: {budget: {trials: 2}}
"""


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (f"model: llama\napi-key: {KEY}  # ours\n", [KEY]),
        ("api_key: ['one-key', \"two-key\"]\nadmin-api-key: 0123\n", ["one-key", "two-key", "0123"]),
        ("api-key:\n  - one-key\n  - two-key\nseed: 1\n", ["one-key", "two-key"]),
        (
            "LLAMA_ARG_BATCH=256\nexport LLAMA_API_KEY='one-key,two-key' # ours\n",
            ["one-key,two-key", "one-key", "two-key"],
        ),
        ('{"server": {"Password": "pass word"}}', ["pass word"]),
        ("headers: {Authorization: Bearer one-key}\nname: Bearer two-key\n", ["Bearer one-key", "Bearer two-key"]),
        (
            "args: [--token, one-key, --seed, '1', --api-key=two-key, -H, 'X: Bearer three']\n",
            ["one-key", "two-key", "Bearer three"],
        ),
        ("args: [--token, --verbose, --allow-credentials=true, HF_TOKEN=one-key, token, count]\n", ["one-key"]),
        ("AWS_SECRET_ACCESS_KEY=one-key\nAWS_ACCESS_KEY_ID=two\nDB_PASSWD=three\n", ["one-key", "three"]),
        ("hf-token: true\nmax-num-batched-tokens: 2048\n", []),
        ('name: "digits"\nmax_batch_size: 8\ninput [ { name: "x" } ]\n', []),
        ("", []),
    ],
)
def test_the_name_of_a_setting_tells_that_it_is_secret(text: str, secrets: list[str]) -> None:
    assert list(secrets_in(text)) == secrets


def test_a_secret_is_taken_out_where_it_stands_by_itself() -> None:
    assert without(f"api-key: '{KEY}', {KEY}s", [KEY]) == f"api-key: '***', {KEY}s"
    assert without("long-key long", ["long", "long-key"]) == "*** ***"
    assert without("abc", ["abc"]) == "abc", "too short to be one"
    assert without("abc", []) == "abc"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:1/v1", "https://host:1/v1"),
        ("http://me:pass@word@host/v1", "http://***@host/v1"),
        ("me:password@host", "***@host"),
        ("http://host/v1?key=1&b=2#c", "http://host/v1?***"),
        ("http://me:p?ssword@host#top", "http://***@host#***"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_log_of_the_run_has_the_servers_words_without_what_is_hidden(tmp_path: Path) -> None:
    log = DeploymentLog(tmp_path / "log.txt", "one", f"server\nkey: {KEY}", lambda text: without(text, [KEY]))
    with log.path.open("ab") as written:
        written.write(f"args: {KEY}\n\xff".encode("latin-1"))
    log.collect()
    assert (tmp_path / "log.txt").read_bytes() == b"--- one: server\nkey: ***\nargs: ***\n\xff"


def test_a_key_near_to_a_change_is_in_no_report_and_the_patch_still_fits(tmp_path: Path) -> None:
    config = f"model-path: llama\napi-key: {KEY}\nseed: 1\npage-size: 1\n"
    (tmp_path / "sglang.yaml").write_text(config)
    (tmp_path / "study.yaml").write_text(STUDY)
    run = written_run(tmp_path / "study.yaml", tmp_path / "run", {"page_size": 16})
    write_reports(read_result(run), RunDirectory(run), None)
    page = (run / "report.html").read_text()
    assert KEY not in page
    assert "+page-size: 16" in page
    assert KEY in (run / "best" / "sglang.yaml").read_text(), "the server needs it"


def hide(text: str) -> str:
    return without(text, [KEY])


def test_a_change_is_shown_with_fewer_lines_around_it_rather_than_with_a_line_that_fits_no_file() -> None:
    before = f"key: {KEY}\na: 1\nb: 1\nc: 1\n"
    path = Path("f.yaml")
    diff = html.config_diff({path: before}, {path: before.replace("c: 1", "c: 2")}, hide)
    assert diff == "--- yours/f.yaml\n+++ best/f.yaml\n@@ -2,3 +2,3 @@\n a: 1\n b: 1\n-c: 1\n+c: 2\n"


def test_a_key_right_beside_a_change_is_masked() -> None:
    before, path = f"key: {KEY}\nc: 1\n", Path("f.yaml")
    diff = html.config_diff({path: before}, {path: before.replace("c: 1", "c: 2")}, hide)
    assert diff == "--- yours/f.yaml\n+++ best/f.yaml\n@@ -1,2 +1,2 @@\n key: ***\n-c: 1\n+c: 2\n"
