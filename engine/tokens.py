"""Text to token ids and back, with `tokenizers` alone: no torch, no transformers.

Sampled tokens are turned into text by a table of bytes, one entry a token, and an incremental UTF-8 decoder: a
character that a byte-level vocabulary splits over several tokens comes out once it is whole. Tables exist for
byte-level BPE (GPT-2 and most code models) and for SentencePiece vocabularies with byte fallback (Llama 2,
CodeLlama); another kind of decoder is refused when it is loaded.
"""

from __future__ import annotations

import codecs
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.chat_template import ChatTemplate
from engine.errors import ModelNotFound, UnsupportedField, UnsupportedModel
from engine.fim import gap_of
from engine.types import Chat, Fim, Prompt, Text, TokenIds

if TYPE_CHECKING:
    import tokenizers

_AROUND_A_TEXT = 12
"""More tokens than any layout puts around a text."""
_NO_LIMIT = 10**9
"""Hub tokenizers say "no limit" with an absurdly large number."""


class Tokenizer:
    """Encodes the four kinds of prompt and decodes sampled tokens. Safe to share between threads."""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, spec: dict[str, Any], config: dict[str, Any], template: str | None
    ) -> None:
        self._tokenizer = tokenizer
        self._config = config
        self.bytes_of = _bytes_table(tokenizer, spec)
        """The bytes a token stands for, by token id; empty for special tokens."""
        self._special = {
            name: _content(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        }
        self._template = ChatTemplate(template, self._special) if template is not None else None
        self._specials = tuple(entry["content"] for entry in spec.get("added_tokens", []) if entry["special"])
        self.gap = gap_of(tokenizer.token_to_id)
        """How to fill in the middle; None: the vocabulary has no tokens for it."""

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read tokenizer files from `folder` or from the `hf` folder beside it.

        Raises `ModelNotFound` when there is no `tokenizer.json`, `UnsupportedModel` for a vocabulary of another kind.
        """
        import tokenizers

        home = model_file(folder, "tokenizer.json")
        if home is None:
            raise ModelNotFound(f"no tokenizer.json in {folder} or in the hf folder beside it")
        config = read_json(folder, "tokenizer_config.json")
        return cls(
            tokenizers.Tokenizer.from_file(str(home)),
            json.loads(home.read_text(encoding="utf-8")),
            config,
            _template_text(folder, config),
        )

    def cover(self, vocabulary: int) -> None:
        """Give no text to the ids up to `vocabulary` that have no token: models often pad. For the loader alone."""
        self.bytes_of.extend([b""] * (vocabulary - len(self.bytes_of)))

    @property
    def chat(self) -> bool:
        """Whether there is a chat template."""
        return self._template is not None

    @property
    def fim(self) -> str | None:
        """Name of the fill-in-the-middle layout."""
        return None if self.gap is None else self.gap.layout.name

    @property
    def model_max_length(self) -> int | None:
        """The context length the tokenizer's configuration states, in tokens."""
        length = self._config.get("model_max_length")
        return int(length) if isinstance(length, int | float) and 0 < length < _NO_LIMIT else None

    @cached_property
    def eos_id(self) -> int | None:
        """Id of the end-of-text token."""
        return self.id_of(self._special["eos_token"])

    def id_of(self, token: str | None) -> int | None:
        """Id of a token by its spelling; None when there is none."""
        found: int | None = self._tokenizer.token_to_id(token) if token else None
        return found

    def text_of(self, token_id: int) -> str:
        """A token by itself, as text; bytes that are no whole character become U+FFFD."""
        return self.bytes_of[token_id].decode("utf-8", "replace")

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """Token ids of a text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special_tokens).ids
        return ids

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """Text of token ids; special tokens give none."""
        return b"".join(self.bytes_of[token_id] for token_id in ids).decode("utf-8", "replace")

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, at least one. Raises `UnsupportedField`."""
        match prompt:
            case Text():
                ids = self.encode(prompt.text, special_tokens=True)
            case TokenIds():
                ids = list(prompt.ids)
                if ids and not 0 <= min(ids) <= max(ids) < len(self.bytes_of):
                    raise UnsupportedField("prompt", f"token ids go from 0 to {len(self.bytes_of) - 1}")
            case Chat():
                if self._template is None:
                    raise UnsupportedField("messages", "the model has no chat template")
                ids = self.encode(self._template.render(prompt))
            case Fim():
                ids = self._encode_fim(prompt)
        return ids or self._first_token()

    def fitted(self, prompt: Fim, room: int) -> Fim:
        """What `room` tokens hold of a gap; all of it where it fits, or where the model cannot fill it anyway."""
        if self.gap is None or _most_tokens(prompt) <= room:
            return prompt
        return self.gap.fitted(prompt, self._encode_plainly, self._begin, room)

    def end_ids(self, listed: object) -> frozenset[int]:
        """Every token that ends a text: those that a model's settings list (an id, several, or None), the
        tokenizer's own, and those of the layout. None where only the last are known: they end no plain text.
        """
        ids = listed if isinstance(listed, list) else [listed]
        found = frozenset(token_id for token_id in (*ids, self.eos_id) if isinstance(token_id, int))
        return found.union(self.gap.ends) if found and self.gap is not None else found

    def _encode_fim(self, prompt: Fim) -> list[int]:
        if self.gap is None:
            raise UnsupportedField("suffix", "the model cannot fill in the middle")
        return self.gap.put_together(prompt, self._encode_plainly, self._begin)

    def _encode_plainly(self, text: str) -> list[int]:
        """Token ids of a text in which a spelled-out special token is text like any other."""
        if not any(token in text for token in self._specials):
            return self.encode(text)
        ids: list[int] = self._literal.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _literal(self) -> tokenizers.Tokenizer:
        import tokenizers

        made = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        made.encode_special_tokens = True
        return made

    @cached_property
    def _begin(self) -> list[int]:
        """What the tokenizer puts before every text: nothing, or the token that begins one."""
        bos = self.id_of(self._special["bos_token"])
        return [token for token in self.encode("", special_tokens=True)[:1] if token == bos]

    def _first_token(self) -> list[int]:
        """What stands for an empty prompt: a model needs one token to begin with."""
        for name in ("bos_token", "eos_token"):
            token_id = self.id_of(self._special[name])
            if token_id is not None:
                return [token_id]
        raise UnsupportedField("prompt", "must not be empty: the model has no token that begins a text")


class Detokeniser:
    """Text of one candidate, token by token. Bytes that can be no UTF-8 become U+FFFD."""

    __slots__ = ("_bytes_of", "_decode")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bytes_of = tokenizer.bytes_of
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def push(self, token_id: int) -> str:
        """The whole characters that this token completes; often one token's text, sometimes nothing."""
        return self._decode(self._bytes_of[token_id])


def model_file(folder: Path, name: str) -> Path | None:
    """A file of a model, in its own folder or in the `hf` folder beside it."""
    return next((path for path in (folder / name, folder.parent / "hf" / name) if path.is_file()), None)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object among a model's files; empty when the file is missing."""
    path = model_file(folder, name)
    content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    return content if isinstance(content, dict) else {}


def _most_tokens(prompt: Fim) -> int:
    """More than a gap can have: no token is less than a byte."""
    texts = (prompt.prefix, prompt.suffix, prompt.path, *(part for file in prompt.files for part in file))
    return sum(_AROUND_A_TEXT + len(text) * (1 if text.isascii() else 4) for text in texts)


def _content(token: object) -> str | None:
    """Special tokens are stored as text or as an object with a `content`."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _template_text(folder: Path, config: dict[str, Any]) -> str | None:
    path = model_file(folder, "chat_template.jinja")
    if path is not None:
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    return template if isinstance(template, str) else None


def _bytes_table(tokenizer: tokenizers.Tokenizer, spec: dict[str, Any]) -> list[bytes]:
    kinds = _decoder_kinds(spec.get("decoder") or {})
    if "ByteLevel" in kinds:
        alphabet = _byte_level_alphabet()
    elif kinds & {"ByteFallback", "Metaspace"}:
        alphabet = None
    else:
        raise UnsupportedModel(f"its tokenizer has a decoder of another kind: {', '.join(sorted(kinds)) or 'none'}")
    added = {entry["id"]: entry for entry in spec.get("added_tokens", [])}
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    table = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, token_id in vocabulary.items():
        entry = added.get(token_id)
        if entry is not None:
            table[token_id] = b"" if entry["special"] else token.encode()
        elif alphabet is not None:
            table[token_id] = b"".join(alphabet.get(character) or character.encode() for character in token)
        elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            table[token_id] = bytes([int(token[3:5], 16)])
        else:
            table[token_id] = token.replace("▁", " ").encode()
    return table


def _decoder_kinds(decoder: dict[str, Any]) -> set[str]:
    inner = decoder.get("decoders", [])
    return {decoder.get("type", "")} | {kind for part in inner for kind in _decoder_kinds(part)}


def _byte_level_alphabet() -> dict[str, bytes]:
    """The printable character that GPT-2 writes for each byte, backwards."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): bytes([byte]) for byte in printable}
    return alphabet | {chr(256 + rank): bytes([byte]) for rank, byte in enumerate(others)}
