"""Train the language model and write what the study serves: an ONNX file and the held-out texts.

Task: which of 24 languages is a text in? Data: the names of languages, regions, scripts and currencies in each of
them, as the Unicode CLDR has them and the package Babel ships them. A quarter of the names is held out. A text is
some names of one language, joined by commas; how many is drawn, so lengths differ, up to 400 bytes.

Model: byte embeddings, three convolutions over 5 bytes and a masked mean over the text; about 108,000
multiply-adds a byte. The batch is padded to its longest text, so the work is that of the longest times their number.

Run it only to make the files anew; they are committed. It needs, in an environment of its own:
    pip install torch onnx babel
    python studies/language/make_model.py
Then quantise.py makes the INT8 file.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from names import LANGUAGES, SEED, split, texts
from torch import nn

HERE = Path(__file__).parent
VERSION = HERE / "models" / "language" / "1"
STEPS, BATCH = 2_000, 64
TEST_TEXTS = 600
OPSET = 17


def padded(some: list[bytes]) -> torch.Tensor:
    longest = max(len(one) for one in some)
    return torch.tensor([[*one, *[0] * (longest - len(one))] for one in some], dtype=torch.int64)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 32)
        sizes = (32, 96, 96, 96)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], len(LANGUAGES))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = (tokens > 0).float().unsqueeze(1)
        x = self.embedding(tokens).transpose(1, 2) * mask
        for layer in self.layers:
            x = torch.relu(layer(x)) * mask
        return self.head(x.sum(2) / mask.sum(2).clamp(min=1.0))


def train(names: list[list[str]], rng: np.random.Generator) -> Network:
    torch.manual_seed(SEED)
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, STEPS)
    for _ in range(STEPS):
        some, labels = texts(names, BATCH, rng)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(padded(some)), torch.from_numpy(labels)).backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def export(network: Network, path: Path) -> None:
    torch.onnx.export(
        network,
        (torch.ones(2, 9, dtype=torch.int64),),
        str(path),
        input_names=["tokens"],
        output_names=["scores"],
        dynamic_axes={"tokens": {0: "batch", 1: "length"}, "scores": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path))


def main() -> None:
    rng = np.random.default_rng(SEED)
    train_names, test_names = split(rng)
    network = train(train_names, rng)
    some, labels = texts(test_names, TEST_TEXTS, rng)
    with torch.no_grad():
        found = [int(network(padded([one])).argmax()) for one in some]
    lengths = np.array([len(one) for one in some])
    print(f"accuracy on {TEST_TEXTS} texts of held-out names: {np.mean(found == labels):.2%}")
    print(
        f"lengths: {lengths.min()} to {lengths.max()} bytes, median {np.median(lengths):g}, mean {lengths.mean():.1f}"
    )
    export(network, VERSION / "model.onnx")
    with (HERE / "test.jsonl").open("w") as lines:
        for one, label in zip(some, labels, strict=True):
            lines.write(json.dumps({"TOKENS": list(one), "labels": int(label)}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
