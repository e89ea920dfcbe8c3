"""What the doctor says of the load generator."""

import sys
from dataclasses import replace
from importlib.metadata import metadata
from pathlib import Path

import pytest

from targets.llamacpp.installation import BUILD
from targets.triton import docker
from tuner import doctor
from tuner.ceiling import Ceiling, CeilingError

FOUND = Ceiling(
    throughput_rps=50_000.0,
    cpu_per_request_s=20e-6,
    issue_delay_p50_s=50e-6,
    issue_delay_p99_s=150e-6,
    paced_cpu_share=0.06,
    measured="today",
)


def rows(
    monkeypatch: pytest.MonkeyPatch, found: Ceiling | CeilingError, *, fresh: bool = False
) -> dict[str, doctor.Row]:
    def host_ceiling(*, fresh: bool) -> Ceiling:
        asked.append(fresh)
        if isinstance(found, CeilingError):
            raise found
        return found

    asked: list[bool] = []
    monkeypatch.setattr(doctor, "host_ceiling", host_ceiling)
    examined = {row["what"]: row for row in doctor.examine(fresh=fresh)}
    assert asked == [fresh]
    return examined


@pytest.mark.parametrize("fresh", [False, True])
def test_what_was_measured_is_shown_with_its_time(monkeypatch: pytest.MonkeyPatch, fresh: bool) -> None:
    examined = rows(monkeypatch, FOUND, fresh=fresh)
    assert examined["load generator"] == {
        "what": "load generator",
        "works": "yes",
        "detail": "up to 50,000 requests/s over HTTP with one process, 20 us of CPU each (measured today)",
    }
    assert examined["pacing"] == {
        "what": "pacing",
        "works": "yes",
        "detail": "issue delay p50 50 us, p99 150 us at 1,000/s, with 6% of a core (measured today)",
    }


def test_pacing_over_the_bound_does_not_work_and_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    row = rows(monkeypatch, replace(FOUND, issue_delay_p99_s=1.2e-3))["pacing"]
    assert row["works"] == "no"
    assert "p99 1.2 ms at 1,000/s" in row["detail"]
    assert row["detail"].endswith(
        "over 1 ms a measurement is invalid: end what else runs on this host, or take one with more cores, then "
        "`tune doctor --fresh`"
    )


def test_a_generator_that_did_not_have_its_core_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    row = rows(monkeypatch, replace(FOUND, throughput_rps=20_000.0))["load generator"]
    assert row["works"] == "yes"
    assert "; it got 40% of a core, so this host can do more: end what else runs" in row["detail"]


def test_a_host_that_cannot_be_measured_has_the_reason_and_all_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    examined = rows(monkeypatch, CeilingError("cannot be measured: no timer"))
    for what in ("load generator", "pacing"):
        assert examined[what] == {"what": what, "works": "no", "detail": "cannot be measured: no timer"}
    assert {"paretune", "isolation", "target triton"} <= set(examined)


@pytest.mark.parametrize(("works", "expected"), [("yes", True), ("no", False)])
def test_the_simulated_server_is_nobodys_to_tune(works: str, expected: bool) -> None:
    checks = [("paretune", "yes"), ("target simulated", "yes"), ("target triton", works)]
    rows = [{"what": what, "works": one, "detail": ""} for what, one in checks]
    assert doctor.some_server_can_be_tuned(rows) is expected


SCRIPT = "#!{python}\nfrom {module} import main\nmain()\n"


@pytest.mark.parametrize(
    ("script", "works", "detail"),
    [
        (SCRIPT.format(python="/usr/bin/python3", module="tuner.cli"), "yes", "bin/tune"),
        ('#!/usr/bin/env bash\nexec "/opt/pyenv/bin/pyenv" exec "tune" "$@"\npyenv exec tune\n', "yes", "bin/tune"),
        (SCRIPT.format(python=sys.executable, module="torchtune._cli.tune"), "no", "comes first on PATH; call ours as"),
        (None, "no", "not on PATH; `python"),
    ],
)
def test_the_command_on_path_is_ours_wherever_pip_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, works: str, detail: str
) -> None:
    command = tmp_path / "bin" / "tune"
    command.parent.mkdir()
    if script is not None:
        command.write_text(script)
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    row = rows(monkeypatch, FOUND)["command `tune`"]
    assert row["works"] == works
    assert detail in row["detail"]


@pytest.mark.parametrize(
    ("engine", "works", "detail"),
    [
        ("echo 27.0.0", "yes", "with `launch: docker` only, by {docker} 27.0.0: there is no tritonserver here"),
        ("echo Is the daemon running? >&2; exit 1", "no", "{docker} has no engine to talk to: Is the daemon running?"),
        ("exec sleep 600", "no", "{docker} version does not answer within 0.5 s; start its engine anew"),
        (None, "no", "TRITONSERVER names nothing, which is no executable file"),
    ],
)
def test_without_a_tritonserver_an_engine_counts_only_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str | None, works: str, detail: str
) -> None:
    command = tmp_path / "docker"
    if engine is not None:
        command.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{engine}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TRITONSERVER", "nothing")
    if engine is not None and "sleep" in engine:
        monkeypatch.setattr(docker, "LOOK_TIMEOUT_S", 0.5)
    row = rows(monkeypatch, FOUND)["target triton"]
    assert row["works"] == works
    assert detail.format(docker=command) in row["detail"]


def test_a_remedy_is_a_command_and_no_page_that_an_installed_package_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    examined = rows(monkeypatch, FOUND)
    commands = {"vllm": "pip install vllm", "sglang": "pip install sglang", "llamacpp": " && ".join(BUILD)}
    for kind, command in commands.items():
        assert examined[f"target {kind}"]["works"] == "no"
        assert command in examined[f"target {kind}"]["detail"]
    assert not [row for row in examined.values() if "docs/" in row["detail"]]
    page = Path(__file__).parents[2] / "docs" / "llamacpp.md"
    assert "\n".join(BUILD) in page.read_text()


def test_an_extra_that_is_missing_has_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"ui": ("no_such_module", "`tune ui`"), "locust": ("json", "`tune agent`")})
    examined = rows(monkeypatch, FOUND)
    assert examined["extra locust"] == {"what": "extra locust", "works": "yes", "detail": "for `tune agent`"}
    assert examined["extra ui"]["works"] == "no"
    assert examined["extra ui"]["detail"].endswith("-m pip install 'paretune[ui]'")


def test_every_extra_with_a_row_is_one_of_the_package() -> None:
    known = metadata("paretune").get_all("Provides-Extra") or []
    assert set(doctor.EXTRAS) <= set(known)
