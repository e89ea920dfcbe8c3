"""Request sources: the inputs that are sent, with labels where accuracy can be judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray


class RequestSourceError(ValueError):
    """A request source that cannot be read; the message names the file and what was expected."""


@dataclass(frozen=True)
class Dataset:
    """Items to send, one row each.

    Attributes:
        inputs: input name -> array [n, ...]; row i of every array makes up request i.
        labels: int64 [n], the right class of each item, or None.
    """

    inputs: Mapping[str, NDArray[np.generic]]
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class Prompts:
    """Requests to a language model, one a row.

    Attributes:
        texts: what is sent: a text, or the ids of its tokens.
        output_tokens: int64 [n], how many tokens are asked for at most.
        ids: lowest and highest token id that occur, None where all are texts.
        made_up: nobody minds another beginning.
    """

    texts: Sequence[str | Sequence[int]]
    output_tokens: NDArray[np.int64]
    ids: tuple[int, int] | None = None
    made_up: bool = False

    @property
    def labels(self) -> None:
        """There is no right class of a text."""
        return None

    def __len__(self) -> int:
        return len(self.texts)


Requests: TypeAlias = Dataset | Prompts


def load_dataset(path: Path, labels_key: str = "labels") -> Dataset:
    """Read an .npz file: one array per model input, rows are items, and optionally an array of labels.

    Raises:
        RequestSourceError: the file is missing, is no .npz, holds no input, or its arrays differ in length.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise RequestSourceError(
                    f"{path}: not an .npz file but a single array; expected one array per model input"
                )
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise RequestSourceError(f"{path}: no such file") from None
    except RequestSourceError:
        raise
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise RequestSourceError(f"{path}: not an .npz file of plain arrays ({error})") from error
    labels = arrays.pop(labels_key, None)
    if labels is not None and (labels.dtype.kind not in "iub" or labels.ndim != 1):
        raise RequestSourceError(
            f"{path}: `{labels_key}` must hold one whole number per item, its right class; "
            f"it is {labels.dtype} of shape {labels.shape}"
        )
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if labels is not None:
        lengths[labels_key] = len(labels)
    if not arrays or 0 in lengths.values() or len(set(lengths.values())) != 1:
        raise RequestSourceError(
            f"{path}: expected one array per model input, all with the same number of rows; found {lengths}"
        )
    return Dataset(arrays, None if labels is None else labels.astype(np.int64))
