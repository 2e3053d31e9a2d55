"""The light backend: CTranslate2's encoder and the classification head in numpy. No torch.

RoBERTa and BERT kinds only; others need the `transformers` backend.
"""

from __future__ import annotations

import asyncio
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.classify.base import ClassifierInfo
from engine.classify.batches import batches
from engine.classify.manifest import VerifierManifest, info_of
from engine.classify.tokens import ClassifierTokens
from engine.ct2.model import available_cores, library
from engine.errors import EngineFailed, InvalidModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HEAD_NAME = "head.npz"
ROBERTA_HEAD = ("dense_weight", "dense_bias", "out_weight", "out_bias")
BERT_HEAD = ("out_weight", "out_bias")
"""RoBERTa: tanh(dense(first state)), then out; BERT: out(the encoder's own pooler)."""
_MOST_TOKENS = 2048


class Ct2Classifier:
    """See `Classifier`. One call of the encoder a batch and a thread a call; calls of one text set run side by side."""

    def __init__(self, folder: Path, manifest: VerifierManifest, dtype: str) -> None:
        """Load `folder` (a `ct2-<dtype>`); blocks. Raises `InvalidModel` naming the file that cannot be used."""
        self._head = _read_head(folder / HEAD_NAME)
        self._tokens = ClassifierTokens(folder, manifest.max_tokens)
        self._temperature = manifest.temperature
        self._lock = threading.Lock()
        self._workers = available_cores()
        try:
            self._encoder: Any = library().Encoder(
                str(folder), device="cpu", compute_type="default", inter_threads=self._workers, intra_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise InvalidModel(f"{folder / 'model.bin'}: {error}") from error
        self._info = info_of(manifest, backend="ctranslate2", dtype=dtype)

    @property
    def info(self) -> ClassifierInfo:
        """See `Classifier`."""
        return self._info

    async def probabilities(self, texts: Sequence[str]) -> list[float]:
        """See `Classifier`."""
        return await asyncio.to_thread(self.compute, texts) if texts else []

    async def aclose(self) -> None:
        """See `Classifier`."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Free the weights; CTranslate2 wants that before the interpreter ends."""
        with self._lock:
            if self._encoder is not None:
                self._encoder.unload_model()
                self._encoder = None

    def compute(self, texts: Sequence[str]) -> list[float]:
        """`probabilities`, in the caller's thread."""
        ids = self._tokens.ids(texts)
        total = sum(map(len, ids))
        share = max(256, min(_MOST_TOKENS, -(-total // self._workers)))
        groups = batches([len(row) for row in ids], most_tokens=share)
        found = [0.0] * len(ids)
        with self._lock:
            if self._encoder is None:
                raise EngineFailed("the classifier is closed")
            for group, logits in zip(groups, self._logits([[ids[p] for p in group] for group in groups]), strict=True):
                for position, row in zip(group, logits, strict=True):
                    found[position] = _probability(row, self._temperature)
        return found

    def _logits(self, groups: list[list[list[int]]]) -> list[npt.NDArray[np.float32]]:
        """The head's logits, shape (texts, 2), one array a batch; batches share the cores."""
        from concurrent.futures import ThreadPoolExecutor

        if len(groups) == 1:
            return [self._forward(groups[0])]
        with ThreadPoolExecutor(min(self._workers, len(groups))) as pool:
            return list(pool.map(self._forward, groups))

    def _forward(self, ids: list[list[int]]) -> npt.NDArray[np.float32]:
        import numpy as np

        try:
            output = self._encoder.forward_batch(ids)
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"the classifier {self._info.id} does not compute: {error}") from error
        head = self._head
        if "dense_weight" in head:
            first = np.array(output.last_hidden_state, dtype=np.float32)[:, 0]
            pooled = np.tanh(first @ head["dense_weight"].T + head["dense_bias"])
        else:
            pooled = np.array(output.pooler_output, dtype=np.float32)
        return np.asarray(pooled @ head["out_weight"].T + head["out_bias"], dtype=np.float32)


def _probability(logits: Any, temperature: float) -> float:
    """Second of the two classes' softmax."""
    import math

    margin = max(-60.0, min(60.0, float(logits[1] - logits[0]) / temperature))
    return 1.0 / (1.0 + math.exp(-margin))


def _read_head(path: Path) -> Mapping[str, npt.NDArray[np.float32]]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = {name: np.asarray(arrays[name], dtype=np.float32) for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidModel(f"{path}: {error}") from error
    if set(head) not in ({*ROBERTA_HEAD}, {*BERT_HEAD}) or head["out_bias"].shape != (2,):
        raise InvalidModel(f"{path}: not the head of a classifier of two classes")
    return head
