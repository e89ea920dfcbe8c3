"""The GPUs that a Triton started here sees, as far as that is known before it is asked."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from targets.triton.docker import default_runtime
from targets.triton.options import DockerOptions, TritonOptions

DRIVER_GPUS = Path("/proc/driver/nvidia/gpus")
UNLISTED = tuple(map(Path, ("/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu", "/etc/nv_tegra_release")))
"""Of machines whose GPUs no folder lists: the driver of WSL 2 is that of Windows, and Jetson's are integrated."""


def gpus_of(options: TritonOptions) -> tuple[int, ...] | None:
    """Return the numbers of the GPUs that the server of a study sees, None where that is not known."""
    return gpus_here() if options.docker is None else gpus_in(options.docker)


def gpus_here(
    driver: Path = DRIVER_GPUS, unlisted: Sequence[Path] = UNLISTED, environment: Mapping[str, str] = os.environ
) -> tuple[int, ...] | None:
    """Return the numbers of the GPUs that a process on this machine sees, None where that is not known.

    Args:
        driver: folder with an entry for each GPU that NVIDIA's driver has.
        unlisted: one of these is there where the machine may have GPUs that such a folder does not list.
        environment: its CUDA_VISIBLE_DEVICES hides the GPUs that it does not name.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    shown = None if named is None else _shown(named)
    if shown == 0:
        return ()
    if not driver.is_dir():
        return None if any(path.exists() for path in unlisted) else ()
    present = len(list(driver.iterdir()))
    return tuple(range(present if shown is None else min(present, shown)))


def _shown(named: str) -> int:
    """Return how many GPUs a value of CUDA_VISIBLE_DEVICES names: CUDA stops at the first one that is none."""
    visible = [part.strip() for part in named.split(",")]
    return next((index for index, part in enumerate(visible) if part in ("", "-1")), len(visible))


def gpus_in(
    docker: DockerOptions, driver: Path = DRIVER_GPUS, unlisted: Sequence[Path] = UNLISTED
) -> tuple[int, ...] | None:
    """Return () where a container sees no GPU, None where it may see some: it numbers them by itself.

    `gpus` gives it some, and so may arguments (`--device nvidia.com/gpu=all`, `--runtime=nvidia`) and variables
    (NVIDIA_VISIBLE_DEVICES). Without any of these it depends on the runtime that the engine takes by default. What
    CUDA_VISIBLE_DEVICES says here is not passed on.

    Args:
        docker: the section of the study's target.
        driver: as above.
        unlisted: as above.
    """
    if docker.gpus is not None or docker.args or docker.env:
        return None
    if gpus_here(driver, unlisted, {}) == ():
        return ()
    runtime = default_runtime(docker.engine)
    return None if runtime is None or "nvidia" in runtime else ()
