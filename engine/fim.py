"""Fill-in-the-middle layouts of model families: which tokens stand around prefix and suffix, and in what order.

A prompt is put together of token ids, never of text: a token spelled out in a user's file stays text. A model's layout
is found by the tokens that its vocabulary has. Sources are the model cards and tokenizer files of the families.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from engine.types import Fim


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One family's."""

    name: str
    prefix: str
    """The token before the text that stands before the gap."""
    suffix: str
    """The token before the text behind it."""
    middle: str | None
    """The token that the completion follows; None: it follows the prefix, which then comes last."""
    ends: tuple[str, ...] = ()
    """Tokens, besides the end of text, that end a completion."""
    file: str | None = None
    """The token before another file's path; None where files are marked by text alone."""
    head: str | None = None
    """A file's heading, with `{path}`; None where other files are not known."""
    spaced: bool = False
    """As text, the layout has spaces around its tokens that are part of them."""
    begins: bool = True
    """The token that begins a text, where a tokenizer puts one, begins a gap too."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Those that a vocabulary must have."""
        return tuple(token for token in (self.prefix, self.suffix, self.middle) if token is not None)


_STARCODER = Layout(
    name="starcoder",
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    ends=("<filename>", "<reponame>"),
    file="<filename>",
    head="{path}\n",
    begins=False,
)
LAYOUTS = (
    Layout(
        name="qwen2.5-coder",
        prefix="<|fim_prefix|>",
        suffix="<|fim_suffix|>",
        middle="<|fim_middle|>",
        ends=("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_end|>"),
        file="<|file_sep|>",
        head="{path}\n",
    ),
    Layout(
        name="codegemma",
        prefix="<|fim_prefix|>",
        suffix="<|fim_suffix|>",
        middle="<|fim_middle|>",
        ends=("<|file_separator|>", "<end_of_turn>"),
        file="<|file_separator|>",
        head="{path}\n",
    ),
    Layout(name="granite", prefix="<|fim_prefix|>", suffix="<|fim_suffix|>", middle="<|fim_middle|>"),
    Layout(
        name="starcoder2",
        prefix="<fim_prefix>",
        suffix="<fim_suffix>",
        middle="<fim_middle>",
        ends=("<file_sep>", "<repo_name>"),
        file="<file_sep>",
        head="{path}\n",
    ),
    _STARCODER,
    replace(_STARCODER, ends=(), file=None, head=None),  # models of our own have its three tokens alone
    Layout(name="santacoder", prefix="<fim-prefix>", suffix="<fim-suffix>", middle="<fim-middle>"),
    Layout(
        name="deepseek-coder",
        prefix="<｜fim▁begin｜>",
        suffix="<｜fim▁hole｜>",
        middle="<｜fim▁end｜>",
        head="#{path}\n",
    ),
    Layout(name="codellama", prefix="<PRE>", suffix="<SUF>", middle="<MID>", ends=("<EOT>",), spaced=True),
    Layout(name="codestral", prefix="[PREFIX]", suffix="[SUFFIX]", middle=None, head="+++++ {path}\n"),
    Layout(  # GLM-4.5 and later, as llama.cpp and Zed have it; CodeGeeX4, with the same tokens, was trained on chats
        name="glm",
        prefix="<|code_prefix|>",
        suffix="<|code_suffix|>",
        middle="<|code_middle|>",
        ends=("<|user|>", "<|observation|>"),
    ),
    Layout(name="seed-coder", prefix="<[fim-prefix]>", suffix="<[fim-suffix]>", middle="<[fim-middle]>"),
)
"""Of those with equal tokens the first whose further tokens are there too is taken, so the most particular come first;
the last of them needs none."""

IdOf = Callable[[str], int | None]
Encode = Callable[[str], list[int]]
_SOMETHING = "☺"
_CHARACTERS_A_TOKEN = 16
_SUFFIX_SHARE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A layout with the ids that one vocabulary has for it."""

    layout: Layout
    prefix: int
    suffix: int
    middle: int | None
    file: int | None
    ends: tuple[int, ...]
    """Tokens that end a completion, those of the layout among them."""

    @property
    def knows_files(self) -> bool:
        """Whether other files can stand before the gap."""
        return self.layout.head is not None

    def put_together(self, prompt: Fim, encode: Encode, begin: Sequence[int]) -> list[int]:
        """Token ids of a prompt. `encode` reads text as text, `begin` is what a text of the model begins with."""
        prefix, suffix = encode(prompt.prefix), self._suffix(prompt.suffix, encode)
        if self.middle is None:
            parts = [self.suffix, *suffix, self.prefix, *prefix]
        else:
            parts = [self.prefix, *prefix, self.suffix, *suffix, self.middle]
        return [*(begin if self.layout.begins else ()), *self._files(prompt, encode), *parts]

    def fitted(self, prompt: Fim, encode: Encode, begin: Sequence[int], room: int) -> Fim:
        """What `room` tokens hold of a prompt: other files go first, the least helpful of them before all; then the
        prefix's beginning and the suffix's end, which keeps a quarter where both are long, as in llama.cpp.

        The prompt as it is where even the layout's own tokens have no room: the engine refuses it.
        """

        def tokens(part: Fim) -> int:
            return len(self.put_together(part, encode, begin))

        budget = room - tokens(Fim("", ""))
        if budget < 0:
            return prompt
        most = budget * _CHARACTERS_A_TOKEN  # a text beyond it is cut before it is read: that would take seconds
        prefix, suffix = prompt.prefix[max(0, len(prompt.prefix) - most) :], prompt.suffix[:most]
        before, after = len(encode(prefix)), len(self._suffix(suffix, encode))
        if before + after > budget:
            after = min(after, max(budget // _SUFFIX_SHARE, budget - before))
            prefix = _cut(prefix, budget - after, lambda text: len(encode(text)), end=True)
            suffix = _cut(suffix, after, lambda text: len(self._suffix(text, encode)), end=False)
        if not self.knows_files:
            return replace(prompt, prefix=prefix, suffix=suffix)
        kept = replace(prompt, prefix=prefix, suffix=suffix, files=())
        size = 0
        for number, (path, text) in enumerate(reversed(prompt.files), 1):
            size += len(path) + len(text)
            longer = replace(kept, files=prompt.files[-number:])
            if size > most or tokens(longer) > room:
                break
            kept = longer
        return kept

    def _suffix(self, text: str, encode: Encode) -> list[int]:
        """SentencePiece begins every text with a space, which is none here: read behind something it is not added."""
        if not self.layout.spaced:
            return encode(text)
        first = encode(_SOMETHING)
        ids = encode(_SOMETHING + text)
        return ids[len(first) :] if ids[: len(first)] == first else encode(text)

    def _files(self, prompt: Fim, encode: Encode) -> Iterator[int]:
        if not prompt.files or self.layout.head is None:
            return
        mark = () if self.file is None else (self.file,)
        for path, text in prompt.files:
            yield from mark
            yield from encode(self.layout.head.format(path=path) + text + ("" if text.endswith("\n") else "\n"))
        yield from mark
        if prompt.path:
            yield from encode(self.layout.head.format(path=prompt.path))


def _cut(text: str, most: int, tokens: Callable[[str], int], *, end: bool) -> str:
    """The end of a text, or its beginning, with at most so many tokens."""
    while (found := tokens(text)) > most:
        keep = len(text) * most // found
        text = text[len(text) - keep :] if end else text[:keep]
    return text


def gap_of(id_of: IdOf) -> Gap | None:
    """The layout whose tokens a vocabulary has; None: it cannot fill in the middle."""

    def found(token: str | None) -> int | None:
        if token is None:
            return None
        known = id_of(token)
        return known if known is not None else id_of("▁" + token)  # CodeLlama's own spelling

    for layout in LAYOUTS:
        prefix, suffix, middle = found(layout.prefix), found(layout.suffix), found(layout.middle)
        file = found(layout.file)
        if prefix is None or suffix is None or (middle is None) != (layout.middle is None):
            continue
        if layout.file is not None and file is None:
            continue  # a cousin with the same three tokens
        fims = (prefix, suffix, *([] if middle is None else [middle]))
        ends = (*fims, *(known for token in layout.ends if (known := found(token)) is not None))
        return Gap(layout=layout, prefix=prefix, suffix=suffix, middle=middle, file=file, ends=ends)
    return None


@dataclass(frozen=True, slots=True)
class Found:
    """A layout recognised in a text."""

    layout: str
    prefix: str
    suffix: str
    before: str
    """What stood before the layout: other files, without that family's tokens."""
    exact: bool
    """Written as the family has it, without a stray space."""


def tokens_of_layout(name: str) -> tuple[str, ...]:
    """The tokens around prefix and suffix of a layout by its name; none for a name that is no family's."""
    return next((layout.tokens for layout in LAYOUTS if layout.name == name), ())


def find_layout(text: str) -> Found | None:
    """A whole layout of any family that a prompt ends with, as clients write it: one stray space beside a token is
    forgiven. None where there is none, or where a token of it stands twice, so that nobody can say which one counts.
    """
    for layout in LAYOUTS:
        if layout.prefix not in text or layout.suffix not in text:
            continue
        if any(text.count(token) != 1 for token in layout.tokens):
            continue
        match = next((found for pattern in _patterns(layout) if (found := pattern.fullmatch(text))), None)
        if match is not None:
            prefix, suffix = match["prefix"], match["suffix"]
            exact = match["before"] + written(layout, prefix, suffix) == text
            before = match["before"]
            for token in (*layout.ends, *(() if layout.file is None else (layout.file,))):
                before = before.replace(token, "")
            return Found(layout.name, prefix, suffix, before, exact)
    return None


def written(layout: Layout, prefix: str, suffix: str) -> str:
    """A gap as the family's own documents write it, as text: for reading, never for encoding."""
    if layout.middle is None:
        return f"{layout.suffix}{suffix}{layout.prefix}{prefix}"
    if layout.spaced:
        return f"{layout.prefix} {prefix} {layout.suffix}{suffix} {layout.middle}"
    return f"{layout.prefix}{prefix}{layout.suffix}{suffix}{layout.middle}"


def _patterns(layout: Layout) -> list[re.Pattern[str]]:
    """How clients write a layout. Code often ends in spaces before a gap, so in a family that has none beside its
    tokens one is stray only where it stands in all of CodeLlama's places.
    """
    before, after = re.escape(layout.prefix), re.escape(layout.suffix)
    if layout.middle is None:
        found = [rf"(?P<before>.*?){after}(?P<suffix>.*?){before}(?P<prefix>.*?)(?:\[MIDDLE\])?"]
    else:
        middle = re.escape(layout.middle)
        if layout.spaced:
            found = [rf"(?P<before>.*?){before} ?(?P<prefix>.*?) ?{after} ?(?P<suffix>.*?) ?{middle} ?"]
        else:
            found = [
                rf"(?P<before>.*?){before} (?P<prefix>.*) {after} ?(?P<suffix>.*) {middle} ?",
                rf"(?P<before>.*?){before}(?P<prefix>.*){after}(?P<suffix>.*){middle} ?",
            ]
    return [re.compile(pattern, re.DOTALL) for pattern in found]
