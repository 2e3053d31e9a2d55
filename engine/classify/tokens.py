"""Texts to token ids for classifiers, with `tokenizers` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidModel


class ClassifierTokens:
    """A fast tokenizer that cuts from the right and adds the special tokens the checkpoint was trained with."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        """Raises `InvalidModel` where `tokenizer.json` is missing or cannot be read."""
        import tokenizers

        path = folder / "tokenizer.json"
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            raise InvalidModel(f"{path}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens, direction="right")

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, one list a text, each at most `max_tokens` long and never empty."""
        return [encoding.ids or [0] for encoding in self._tokenizer.encode_batch(list(texts))]
