"""Train the digits model and write what the study serves: two ONNX files and the held-out test set.

Data: the 1,797 handwritten digits that scikit-learn ships (`load_digits`: 8x8 scans of real handwriting from
the UCI repository, E. Alpaydin and C. Kaynak, 1998). A third of them is held out and never trained on.

Model: the scan is upscaled to 16x16 inside the graph; three 3x3 convolutions and a linear layer follow, about
7.2 million multiply-adds an image. INT8 is ONNX Runtime's static quantisation (QDQ, one scale a channel),
calibrated on training samples only.

Run it only to make the files anew; they are committed. It needs, in an environment of its own:
    pip install torch scikit-learn onnx onnxruntime
    python studies/digits/make_model.py
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
VERSION = HERE / "models" / "digits" / "1"
SEED = 7
EPOCHS = 30
CALIBRATION_SAMPLES = 256
OPSET = 17


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images as float32 [n, 1, 8, 8] in 0..1 and labels as int64 [n], each first to train on, then to test with."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    return train_test_split(images, labels, test_size=600, random_state=SEED, stratify=labels)


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Each image moved by up to one pixel in either direction: the augmentation that small scans need."""
    dx, dy = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(images, shifts=(dx, dy), dims=(2, 3))


def train(images: np.ndarray, labels: np.ndarray) -> nn.Sequential:
    torch.manual_seed(SEED)
    network = build()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(shifted(x[batch])), y[batch]).backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def export(network: nn.Sequential, path: Path) -> None:
    torch.onnx.export(
        network,
        (torch.zeros(1, 1, 8, 8),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path))


class TrainingSamples(CalibrationDataReader):
    """Feeds training images to the calibration, one at a time."""

    def __init__(self, images: np.ndarray) -> None:
        self._samples = iter({"image": image[None]} for image in images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def quantise(source: Path, destination: Path, images: np.ndarray) -> None:
    prepared = destination.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared),
        str(destination),
        TrainingSamples(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def main() -> None:
    train_images, test_images, train_labels, test_labels = load_split()
    network = train(train_images, train_labels)
    with torch.no_grad():
        right = (network(torch.from_numpy(test_images)).argmax(1).numpy() == test_labels).mean()
    print(f"accuracy on {len(test_labels)} held-out digits, in torch: {right:.2%}")
    export(network, VERSION / "model.onnx")
    quantise(VERSION / "model.onnx", VERSION / "model.int8.onnx", train_images[:CALIBRATION_SAMPLES])
    np.savez_compressed(HERE / "test.npz", IMAGE=test_images, labels=test_labels)


if __name__ == "__main__":
    main()
