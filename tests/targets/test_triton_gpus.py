"""The GPUs that a Triton started here sees, and what is known of them before it is asked."""

from pathlib import Path

import pytest

from targets.base import ConfigRefused
from targets.triton.gpus import UNLISTED, gpus_here, gpus_in
from targets.triton.options import DockerOptions
from tests.conftest import MakeTriton
from tests.support.docker import Docker


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """What NVIDIA's driver lists of two GPUs."""
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / address).mkdir(parents=True)
    return tmp_path / "gpus"


@pytest.fixture
def none(tmp_path: Path) -> Path:
    """A path where nothing is."""
    return tmp_path / "none"


def section(**options: object) -> DockerOptions:
    return DockerOptions.model_validate({"image": "triton:test", "engine": "no-such-engine", **options})


def test_gpus_are_those_of_the_driver_that_are_not_hidden(driver: Path, none: Path) -> None:
    assert gpus_here(none, (), {}) == ()
    assert gpus_here(driver, (), {}) == (0, 1)
    for hidden, seen in (("", ()), ("1", (0,)), ("-1", ()), ("1,0,7", (0, 1)), ("0,-1,1", (0,))):
        assert gpus_here(driver, (), {"CUDA_VISIBLE_DEVICES": hidden}) == seen


def test_gpus_that_no_driver_lists_are_not_known_unless_all_are_hidden(none: Path, tmp_path: Path) -> None:
    """As those of WSL 2, and the integrated ones of Jetson, which are known by other devices."""
    unlisted = (none, tmp_path)
    assert gpus_here(none, unlisted, {}) is None
    assert gpus_here(none, unlisted, {"CUDA_VISIBLE_DEVICES": "0"}) is None
    assert gpus_here(none, unlisted, {"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert {str(path) for path in UNLISTED} >= {"/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu"}


@pytest.mark.parametrize(
    "options",
    [
        {"gpus": "all"},
        {"gpus": "device=1"},
        {"args": ["--device", "nvidia.com/gpu=all"]},
        {"args": ["--runtime=nvidia"]},
        {"env": {"NVIDIA_VISIBLE_DEVICES": "all"}},
    ],
)
def test_a_container_that_may_be_given_gpus_has_some_that_are_not_known(
    options: dict[str, object], driver: Path, none: Path
) -> None:
    assert gpus_in(section(**options), driver, ()) is None
    assert gpus_in(section(**options), none, ()) is None


def test_a_container_that_is_given_nothing_has_none_where_the_machine_has_none(none: Path) -> None:
    assert gpus_in(section(), none, ()) == ()


@pytest.mark.parametrize(("runtime", "gpus"), [("runc", ()), ("nvidia", None), ("nvidia-container-runtime", None)])
def test_elsewhere_it_depends_on_the_engines_default_runtime(
    runtime: str, gpus: tuple[int, ...] | None, driver: Path, none: Path, tmp_path: Path
) -> None:
    engine = Docker(tmp_path / "engine")
    engine.run_with(runtime)
    assert gpus_in(section(engine=str(engine.executable)), driver, ()) == gpus
    assert gpus_in(section(engine=str(engine.executable)), none, (tmp_path,)) == gpus


def test_an_engine_that_does_not_tell_its_default_runtime_leaves_it_open(driver: Path, tmp_path: Path) -> None:
    assert gpus_in(section(), driver, ()) is None, "it is not there"
    engine = Docker(tmp_path / "engine")
    assert gpus_in(section(engine=str(engine.executable)), driver, ()) is None


@pytest.mark.parametrize(
    "options", [{"gpus": "device=1"}, {"args": ["--device", "nvidia.com/gpu=all"]}, {"args": ["--runtime=nvidia"]}]
)
def test_a_study_on_gpus_in_a_container_is_left_to_the_server(
    options: dict[str, object], make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell without GPUs hides none of the container's, which it numbers from 0 whatever their numbers are here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    in_shell = make_triton()
    with pytest.raises(ConfigRefused, match="KIND_GPU but no GPUs are available"):
        in_shell.check({"instance_kind": "gpu"})
    target = make_triton(launch="docker", docker={"image": "triton:test", "engine": "no-such-engine", **options})
    target.check({"instance_kind": "gpu", "gpus": "0"})
    assert not [knob.name for knob in target.knobs() if knob.name == "gpus" and knob.unusable]
