"""Layouts of every family, with tokenizers made for them; recognised in prompts as clients write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from engine import Fim, Tokenizer, UnsupportedField
from engine.fim import LAYOUTS, Layout, find_layout, written

from .test_tokens import byte_fallback, saved

BOS = "<bos>"
WRITTEN = {
    "qwen2.5-coder": "<|fim_prefix|>a b<|fim_suffix|>c d<|fim_middle|>",
    "codegemma": "<bos><|fim_prefix|>a b<|fim_suffix|>c d<|fim_middle|>",
    "granite": "<|fim_prefix|>a b<|fim_suffix|>c d<|fim_middle|>",
    "starcoder2": "<fim_prefix>a b<fim_suffix>c d<fim_middle>",
    "starcoder": "<fim_prefix>a b<fim_suffix>c d<fim_middle>",
    "santacoder": "<fim-prefix>a b<fim-suffix>c d<fim-middle>",
    "deepseek-coder": "<bos><｜fim▁begin｜>a b<｜fim▁hole｜>c d<｜fim▁end｜>",
    "codestral": "<bos>[SUFFIX]c d[PREFIX]a b",
    "glm": "<bos><|code_prefix|>a b<|code_suffix|>c d<|code_middle|>",
    "seed-coder": "<[fim-prefix]>a b<[fim-suffix]>c d<[fim-middle]>",
}
"""As text, without CodeLlama, whose tokenizer is of another kind."""
WITH_FILES = {
    "qwen2.5-coder": "<|file_sep|>x.py\nX\n<|file_sep|>y.py\nY\n<|file_sep|>z.py\n<|fim_prefix|>",
    "codegemma": "<bos><|file_separator|>x.py\nX\n<|file_separator|>y.py\nY\n<|file_separator|>z.py\n<|fim_prefix|>",
    "starcoder2": "<file_sep>x.py\nX\n<file_sep>y.py\nY\n<file_sep>z.py\n<fim_prefix>",
    "starcoder": "<filename>x.py\nX\n<filename>y.py\nY\n<filename>z.py\n<fim_prefix>",
    "deepseek-coder": "<bos>#x.py\nX\n#y.py\nY\n#z.py\n<｜fim▁begin｜>",
    "codestral": "<bos>+++++ x.py\nX\n+++++ y.py\nY\n+++++ z.py\n[SUFFIX]",
}


def family(name: str, folder: Path) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """A tokenizer with that family's special tokens, and what reads their spelling back."""
    layout = next(each for each in LAYOUTS if each.name == name)
    made = tokenizers.Tokenizer(
        models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokens = [*layout.tokens, *layout.ends, *([] if layout.file is None else [layout.file])]
    made.add_special_tokens(["<|endoftext|>", BOS, *dict.fromkeys(tokens)])
    if WRITTEN[name].startswith(BOS):
        made.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, made.token_to_id(BOS))]
        )
    return Tokenizer.load(saved(made, folder, bos_token=BOS)), made


@pytest.mark.parametrize("name", WRITTEN)
def test_each_family_has_its_own_layout_by_token_id(name: str, tmp_path: Path) -> None:
    tokenizer, made = family(name, tmp_path)
    assert tokenizer.fim == name
    ids = tokenizer.encode_prompt(Fim("a b", "c d"))
    assert made.decode(ids, skip_special_tokens=False) == WRITTEN[name]
    assert tokenizer.gap is not None
    layout = tokenizer.gap.layout
    assert {made.id_to_token(token) for token in tokenizer.gap.ends} == {*layout.tokens, *layout.ends}


@pytest.mark.parametrize("name", WRITTEN)
def test_other_files_stand_before_the_gap_where_the_family_knows_them(name: str, tmp_path: Path) -> None:
    tokenizer, made = family(name, tmp_path)
    ids = tokenizer.encode_prompt(Fim("a b", "c d", (("x.py", "X"), ("y.py", "Y\n")), "z.py"))
    written = made.decode(ids, skip_special_tokens=False)
    assert tokenizer.gap is not None
    assert tokenizer.gap.knows_files == (name in WITH_FILES)
    assert written.startswith(WITH_FILES.get(name, WRITTEN[name]))


@pytest.mark.parametrize("name", WRITTEN)
def test_a_token_spelled_out_in_a_file_stays_text(name: str, tmp_path: Path) -> None:
    tokenizer, _ = family(name, tmp_path)
    assert tokenizer.gap is not None
    text = "".join(tokenizer.gap.layout.tokens)
    ids = tokenizer.encode_prompt(Fim(text, text))
    for token in (tokenizer.gap.prefix, tokenizer.gap.suffix):
        assert ids.count(token) == 1
    assert tokenizer.decode(ids) == text * 2


def test_codellama_has_its_own_spelling_and_no_space_behind_suf(tmp_path: Path) -> None:
    made = byte_fallback()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.add_special_tokens(["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "<s>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    tokenizer = Tokenizer.load(saved(made, tmp_path, bos_token="<s>", eos_token="<s>"))
    assert tokenizer.fim == "codellama"
    spelled = [made.id_to_token(token) for token in tokenizer.encode_prompt(Fim("def", "d"))]
    assert spelled == ["<s>", "▁<PRE>", "▁def", "▁<SUF>", "d", "▁<MID>"]


def test_a_vocabulary_without_the_tokens_cannot(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(byte_fallback(), tmp_path, bos_token="<unk>", eos_token="<unk>"))
    assert (tokenizer.fim, tokenizer.gap) == (None, None)
    with pytest.raises(UnsupportedField, match="suffix"):
        tokenizer.encode_prompt(Fim("a", "b"))


@pytest.mark.parametrize(
    ("text", "layout", "exact"),
    [
        ("<fim_prefix>a b<fim_suffix>c d<fim_middle>", ("starcoder", "starcoder2"), True),
        ("<fim_prefix> a b <fim_suffix>c d <fim_middle>", ("starcoder", "starcoder2"), False),
        ("<|fim_prefix|> a b <|fim_suffix|> c d <|fim_middle|>", ("qwen2.5-coder",), False),
        ("<PRE> a b <SUF>c d <MID>", ("codellama",), True),
        ("<PRE> a b <SUF> c d <MID>", ("codellama",), False),
        ("<|code_prefix|>a b<|code_suffix|>c d<|code_middle|>", ("glm",), True),
        ("[SUFFIX]c d[PREFIX]a b", ("codestral",), True),
        ("[SUFFIX]c d[PREFIX]a b[MIDDLE]", ("codestral",), False),
        ("<｜fim▁begin｜>a b<｜fim▁hole｜>c d<｜fim▁end｜>", ("deepseek-coder",), True),
        ("# other\n<fim-prefix>a b<fim-suffix>c d<fim-middle>", ("santacoder",), True),
    ],
)
def test_a_layout_is_recognised_as_clients_write_it(text: str, layout: tuple[str, ...], exact: bool) -> None:
    found = find_layout(text)
    assert found is not None
    assert found.layout in layout
    assert (found.prefix, found.suffix, found.exact) == ("a b", "c d", exact)
    assert found.before == ("# other\n" if text.startswith("#") else "")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_spaces_of_the_code_itself_stay(layout: Layout) -> None:
    prefix, suffix = "for x in xs:\n        ", "  # all\n"
    found = find_layout(written(layout, prefix, suffix))
    assert found is not None
    assert found.prefix == prefix
    assert found.suffix in (suffix, suffix[1:])  # some clients write a space of their own behind <SUF>
    assert found.exact == (found.suffix == suffix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f():\n",
        "<fim_prefix>a<fim_suffix>b",
        "<fim_suffix>a<fim_prefix>b<fim_middle>",
        "<fim_prefix>a<fim_suffix>b<fim_middle>c",
        "<fim_prefix>a<fim_prefix>a<fim_suffix>b<fim_middle>",
    ],
)
def test_what_is_no_whole_layout_is_text(text: str) -> None:
    assert find_layout(text) is None


@pytest.mark.parametrize("name", WRITTEN)
def test_a_gap_that_does_not_fit_keeps_what_is_near_it(name: str, tmp_path: Path) -> None:
    tokenizer, _ = family(name, tmp_path)
    files = tuple((f"{number}.py", f"# {number}\n" * 5) for number in range(6))
    prompt = Fim("".join(f"p{i}\n" for i in range(200)), "".join(f"s{i}\n" for i in range(200)), files, "here.py")
    whole = len(tokenizer.encode_prompt(prompt))
    without = len(tokenizer.encode_prompt(Fim(prompt.prefix, prompt.suffix)))
    assert tokenizer.fitted(prompt, whole) == prompt
    for room in (whole - 1, without + 60, without, without - 1, 400, 100, 20, 4, 0):
        fitted = tokenizer.fitted(prompt, room)
        if fitted == prompt:
            assert room < 6 or room >= whole  # not even the tokens of the layout, or all of it
            continue
        assert len(tokenizer.encode_prompt(fitted)) <= room
        assert prompt.prefix.endswith(fitted.prefix)
        assert prompt.suffix.startswith(fitted.suffix)
        assert fitted.files == files[len(files) - len(fitted.files) :]
        if room < without:
            assert fitted.files == (() if name in WITH_FILES else files)
            assert len(tokenizer.encode_prompt(fitted)) > 0.8 * room - 2
            assert len(fitted.suffix) >= 0.2 * room - 6
        else:
            assert (fitted.prefix, fitted.suffix) == (prompt.prefix, prompt.suffix)


def test_a_text_far_too_long_is_cut_before_it_is_read(tmp_path: Path) -> None:
    tokenizer, _ = family("qwen2.5-coder", tmp_path)
    fitted = tokenizer.fitted(Fim("é" * 3_000_000, "", (("x.py", "x" * 3_000_000),)), 100)
    assert set(fitted.prefix) == {"é"}
    assert 90 < len(tokenizer.encode_prompt(fitted)) <= 100


def test_what_ends_a_text(tmp_path: Path) -> None:
    tokenizer, made = family("granite", tmp_path)
    fims = {made.token_to_id(token) for token in ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")}
    end = made.token_to_id("<|endoftext|>")
    assert tokenizer.end_ids(None) == {end, *fims}
    assert tokenizer.end_ids(5) == {5, end, *fims}
    assert tokenizer.end_ids([5, 6]) == {5, 6, end, *fims}
