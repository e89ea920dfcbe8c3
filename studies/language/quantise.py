"""Make the INT8 file of the language model from its ONNX file.

INT8 is ONNX Runtime's static quantisation (QDQ, one scale a channel) of the convolutions and the linear layer,
calibrated on texts of the names that were trained with, never on those of the test. The embeddings stay in FP32: they
are looked up, not multiplied.

Run it only to make the file anew, after make_model.py; it is committed. It needs, in an environment of its own:
    pip install onnx onnxruntime babel
    python studies/language/quantise.py
"""

from pathlib import Path

import numpy as np
from names import SEED, split, texts
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

VERSION = Path(__file__).parent / "models" / "language" / "1"
CALIBRATION_TEXTS = 256
QUANTISED = ["Conv", "Gemm", "MatMul"]


class TrainingTexts(CalibrationDataReader):
    """Feeds texts of training names to the calibration, one at a time."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        names, _ = split(rng)
        some, _ = texts(names, CALIBRATION_TEXTS, rng)
        self._samples = iter({"tokens": np.array([list(one)], np.int64)} for one in some)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def main() -> None:
    prepared = VERSION / "model.prepared"
    quant_pre_process(str(VERSION / "model.onnx"), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(VERSION / "model.int8.onnx"),
        TrainingTexts(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=QUANTISED,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


if __name__ == "__main__":
    main()
