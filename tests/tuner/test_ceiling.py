"""What the load generator reaches on this host: measured once, kept while it holds."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tuner.ceiling
from tuner.ceiling import Ceiling, CeilingError, cached_ceiling, host_ceiling, measure
from tuner.load.generator import GeneratorError

FOUND = Ceiling(
    throughput_rps=50_000.0,
    cpu_per_request_s=20e-6,
    issue_delay_p50_s=50e-6,
    issue_delay_p99_s=150e-6,
    paced_cpu_share=0.06,
    measured="2026-02-03 04:05 UTC",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the cache, which is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "paretune" / "ceiling.json"


def never() -> Ceiling:
    raise AssertionError("measured though it is in the cache")


def finds(**changes: float) -> Callable[[], Ceiling]:
    return lambda: replace(FOUND, **changes)


def test_what_was_measured_is_kept(cache: Path) -> None:
    assert host_ceiling(finds()) == FOUND
    assert cache.exists()
    assert host_ceiling(never) == FOUND
    assert cached_ceiling() == FOUND


def test_nothing_is_in_the_cache_before_it_was_measured(cache: Path) -> None:
    assert cached_ceiling() is None
    assert not cache.exists()


def test_it_is_measured_again_when_asked_for(cache: Path) -> None:
    host_ceiling(finds())
    assert host_ceiling(finds(throughput_rps=60_000.0), fresh=True).throughput_rps == 60_000
    assert json.loads(cache.read_text())["ceiling"]["throughput_rps"] == 60_000
    assert host_ceiling(never).throughput_rps == 60_000


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (tuner.ceiling, "cpu_model", lambda: "another CPU"),
        (os, "cpu_count", lambda: 1234),
        (os, "sched_getaffinity", lambda _: {0, 7}),
        (platform, "release", lambda: "99.0"),
        (platform, "python_version", lambda: "3.99.0"),
        (tuner.ceiling, "__version__", "99.0"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_it_is_measured_again_when_what_it_depends_on_has_changed(
    place: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_ceiling(finds())
    monkeypatch.setattr(place, name, value)
    assert cached_ceiling() is None
    assert host_ceiling(finds(throughput_rps=60_000.0)).throughput_rps == 60_000
    assert host_ceiling(never).throughput_rps == 60_000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"host": {}}', b"\xff\xfe", b'{"ceiling": {}}'])
def test_a_cache_that_cannot_be_read_is_measured_anew(cache: Path, content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert cached_ceiling() is None
    assert host_ceiling(finds()) == FOUND
    assert host_ceiling(never) == FOUND


def test_a_cache_with_a_value_missing_is_measured_anew(cache: Path) -> None:
    host_ceiling(finds())
    stored = json.loads(cache.read_text())
    del stored["ceiling"]["measured"]
    cache.write_text(json.dumps(stored))
    assert cached_ceiling() is None


def test_a_cache_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert host_ceiling(finds()) == FOUND
    assert cached_ceiling() is None


def test_a_measurement_that_fails_is_not_kept(cache: Path) -> None:
    def fails() -> Ceiling:
        raise CeilingError("cannot be measured: no")

    with pytest.raises(CeilingError):
        host_ceiling(fails)
    assert not cache.exists()


@pytest.mark.parametrize("given", ["", "relative/path"])
def test_without_a_usable_xdg_cache_home_the_cache_is_in_the_home(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    host_ceiling(finds())
    assert (tmp_path / ".cache" / "paretune" / "ceiling.json").is_file()


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert host_ceiling(finds()) == FOUND
    assert cached_ceiling() is None


def test_a_host_that_starts_no_process_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise GeneratorError("the load generator's process ended with exit code -9")

    monkeypatch.setattr(tuner.ceiling, "Generator", fails)
    with pytest.raises(CeilingError, match=r"cannot be measured: the load generator's process ended with exit code -9"):
        measure()


def test_this_host_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner.ceiling, "WINDOW_S", 0.3)
    before = os.sched_getaffinity(0)
    found = measure()
    assert os.sched_getaffinity(0) == before
    assert found.throughput_rps > 100
    assert 0 < found.cpu_per_request_s < 0.01
    assert 0 < found.cpu_share < 1.1
    assert 0 < found.issue_delay_p50_s <= found.issue_delay_p99_s < 1
    assert 0 < found.paced_cpu_share < 1.1
    assert found.measured.endswith(" UTC")
