"""The backend for every sequence classifier of transformers, encoder or decoder; needs torch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.classify.base import ClassifierInfo
from engine.classify.batches import batches
from engine.classify.manifest import VerifierManifest, info_of
from engine.classify.tokens import ClassifierTokens
from engine.errors import EngineFailed, InvalidModel, MissingExtra

_MOST_TOKENS = 8192


class HfClassifier:
    """See `Classifier`. In float32 on the CPU, one call at a time."""

    def __init__(self, folder: Path, manifest: VerifierManifest) -> None:
        """Load `folder` (an `hf`); blocks. Raises `MissingExtra` without torch or transformers, `InvalidModel`."""
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra(
                f"the verifier {manifest.id} needs {error.name}, which is not installed; "
                "run: pip install 'touchstone[transformers]'"
            ) from error
        self._torch: Any = torch
        load: Any = transformers.AutoModelForSequenceClassification.from_pretrained
        try:
            self._model: Any = load(str(folder), local_files_only=True, dtype=torch.float32).eval()
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InvalidModel(f"{folder}: {error}") from error
        if self._model.config.num_labels != 2:
            raise InvalidModel(f"{folder / 'config.json'}: {self._model.config.num_labels} classes, not 2")
        self._tokens = ClassifierTokens(folder, manifest.max_tokens)
        pad = self._model.config.pad_token_id
        self._pad = 0 if pad is None else pad
        self._model.config.pad_token_id = self._pad  # decoders find each text's last token by it
        self._temperature = manifest.temperature
        self._lock = threading.Lock()
        self._info = info_of(manifest, backend="transformers", dtype="float32")

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
        """Free the weights."""
        with self._lock:
            self._model = None

    def compute(self, texts: Sequence[str]) -> list[float]:
        """`probabilities`, in the caller's thread."""
        ids = self._tokens.ids(texts)
        found = [0.0] * len(ids)
        with self._lock, self._torch.inference_mode():
            if self._model is None:
                raise EngineFailed("the classifier is closed")
            for group in batches([len(row) for row in ids], most_tokens=_MOST_TOKENS):
                for position, value in zip(group, self._forward([ids[p] for p in group]), strict=True):
                    found[position] = value
        return found

    def _forward(self, ids: list[list[int]]) -> list[float]:
        torch = self._torch
        longest = max(map(len, ids))
        rows = torch.full((len(ids), longest), self._pad)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for place, row in enumerate(ids):
            rows[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        try:
            logits = self._model(input_ids=rows, attention_mask=mask).logits
        except (RuntimeError, IndexError) as error:
            raise EngineFailed(f"the classifier {self._info.id} does not compute: {error}") from error
        values: list[float] = (logits / self._temperature).softmax(-1)[:, 1].tolist()
        return values
