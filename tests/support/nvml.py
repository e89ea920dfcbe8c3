"""A stand-in for NVIDIA's library, compiled here: the real pynvml loads it and gets what a script says."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_stub.c")


def compiled(folder: Path) -> Path:
    """Compile it into a folder; return the folder, for LD_LIBRARY_PATH."""
    command = ["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", SOURCE]
    subprocess.run(command, check=True)
    return folder


def loading(library: Path, script: str, folder: Path) -> dict[str, str]:
    """Return the environment in which pynvml finds it and it finds its script, see nvml_stub.c."""
    path = folder / "nvml.txt"
    path.write_text(script)
    before = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": f"{library}:{before}" if before else str(library), "STUB_NVML": str(path)}


def script(devices: Mapping[str, Mapping[str, object]], count: int | None = None) -> str:
    """Return a script: device -> field -> value or values; as many GPUs as there are devices without a dot."""
    gpus = sum("." not in name for name in devices) if count is None else count
    lines = [f"- count {gpus}"]
    for name, fields in devices.items():
        for field, value in fields.items():
            values = value if isinstance(value, list | tuple) else [value]
            lines.append(f"{name} {field} {' '.join(map(str, values))}")
    return "\n".join(lines) + "\n"
