"""Train the digits model of the MLServer study and write what it serves: a joblib file and the held-out test set.

Data: the 1,797 handwritten digits that scikit-learn ships (`load_digits`: 8x8 scans of real handwriting from
the UCI repository, E. Alpaydin and C. Kaynak, 1998). A third of them is held out and never trained on.

Model: a random forest of 100 trees. To ask it costs about the same for one image as for thirty, since the trees are
walked one after another from Python: that is what batches are for.

Run it only to make the files anew; they are committed:
    pip install 'paretune[mlserver]'
    python studies/mlserver/make_model.py
"""

from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
MODEL = HERE / "models" / "digits" / "model.joblib"
SEED = 7
TREES = 50


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images as float32 [n, 64] in 0..16 and labels as int64 [n], each first to train on, then to test with."""
    digits = load_digits()
    images, labels = digits.data.astype(np.float32), digits.target.astype(np.int64)
    return train_test_split(images, labels, test_size=600, random_state=SEED, stratify=labels)


def main() -> None:
    train_images, test_images, train_labels, test_labels = load_split()
    forest = RandomForestClassifier(TREES, random_state=SEED).fit(train_images, train_labels)
    right = forest.score(test_images, test_labels)
    print(f"accuracy on {len(test_labels)} held-out digits: {right:.2%}")
    joblib.dump(forest, MODEL, compress=9)
    np.savez_compressed(HERE / "test.npz", IMAGE=test_images, labels=test_labels)


if __name__ == "__main__":
    main()
