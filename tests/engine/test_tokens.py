"""Tokenizers made on the spot, without torch or transformers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from engine import Chat, Fim, Message, ModelNotFound, Text, TokenIds, Tokenizer, UnsupportedField, UnsupportedModel
from engine.tokens import Detokeniser

END = "<|endoftext|>"
FIM = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
CODE = ["def f(x):\n    return x + 1\n", "for i in range(10):\n    print(i)\n"]
CHATML = """{%- if messages[0].role == 'assistant' %}{{ raise_exception('the user goes first') }}{% endif %}
{% for message in messages %}
<|{{ message.role }}|>{{ message.content | tojson }}
{% if loop.last %}{% break %}{% endif %}
{% endfor %}
{% if add_generation_prompt %}<|assistant|>{{ bos_token }}{% endif %}
"""


def byte_level() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END, *FIM],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CODE, trainer)
    made.add_tokens(["é!"])
    return made


def byte_fallback() -> tokenizers.Tokenizer:
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "d", "e", "f", "▁d", "ef", "▁def"]
    merges = [("▁", "d"), ("e", "f"), ("▁d", "ef")]
    model = models.BPE(
        {piece: number for number, piece in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True
    )
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return made


def saved(made: tokenizers.Tokenizer, folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    defaults = {"bos_token": {"content": END}, "eos_token": END, "model_max_length": 10**30}
    (folder / "tokenizer_config.json").write_text(json.dumps(defaults | config))
    return folder


@cache
def in_memory(kind: str) -> Tokenizer:
    made = byte_level() if kind == "byte_level" else byte_fallback()
    return Tokenizer(made, json.loads(made.to_str()), {"eos_token": END}, None)


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback"])
@given(text=st.text(max_size=30))
def test_any_text_comes_back_in_whole_characters(kind: str, text: str) -> None:
    assume(not any(special in text for special in (END, *FIM, "<unk>")))  # these are read as what they name
    tokenizer = in_memory(kind)
    if kind == "byte_fallback":
        text = text.replace("▁", " ")
    ids = tokenizer.encode(text)
    push = Detokeniser(tokenizer).push
    pieces = [push(token_id) for token_id in ids]
    assert "".join(pieces) == text == tokenizer.decode(ids)
    assert sum(piece.count("\ufffd") for piece in pieces) == text.count("\ufffd")


def test_an_emoji_waits_until_it_is_whole() -> None:
    tokenizer = in_memory("byte_level")
    ids = tokenizer.encode("😀")
    push = Detokeniser(tokenizer).push
    assert len(ids) > 1
    assert [push(token_id) for token_id in ids] == [""] * (len(ids) - 1) + ["😀"]


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    tokenizer = in_memory("byte_fallback")
    push = Detokeniser(tokenizer).push
    assert [push(1 + 0xFF), push(1 + 0xC3), push(1 + ord("a"))] == ["\ufffd", "", "\ufffda"]


def test_special_tokens_give_no_text_and_added_ones_their_own() -> None:
    tokenizer = in_memory("byte_level")
    assert tokenizer.decode([tokenizer.id_of(END) or 0, *tokenizer.encode("aé!b")]) == "aé!b"
    assert "é!" in [tokenizer.text_of(token_id) for token_id in tokenizer.encode("aé!b")]


def test_padded_vocabularies_give_no_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path))
    tokenizer.cover(1000)
    assert tokenizer.decode([999, *tokenizer.encode("a")]) == "a"


def test_files_are_found_in_the_folder_or_beside_it(tmp_path: Path) -> None:
    saved(byte_level(), tmp_path / "hf", model_max_length=512)
    (tmp_path / "ct2-int8").mkdir()
    tokenizer = Tokenizer.load(tmp_path / "ct2-int8")
    assert (tokenizer.model_max_length, tokenizer.chat, tokenizer.fim) == (512, False, "starcoder")
    with pytest.raises(ModelNotFound):
        Tokenizer.load(tmp_path)


def test_a_decoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    made.decoder = decoders.WordPiece()
    with pytest.raises(UnsupportedModel, match="WordPiece"):
        Tokenizer.load(saved(made, tmp_path))


def test_every_kind_of_prompt(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path, chat_template=CHATML))
    assert tokenizer.model_max_length is None
    assert tokenizer.encode_prompt(Text("def")) == tokenizer.encode("def")
    assert tokenizer.encode_prompt(TokenIds((5, 6))) == [5, 6]
    prefix, suffix, middle = (tokenizer.id_of(token) for token in FIM)
    fim = tokenizer.encode_prompt(Fim("a", "b"))
    assert fim == [prefix, *tokenizer.encode("a"), suffix, *tokenizer.encode("b"), middle]
    chat = tokenizer.encode_prompt(Chat((Message("user", "say <é>"),)))
    assert tokenizer.decode(chat) == '<|user|>"say <é>"\n<|assistant|>'
    assert chat[-1] == tokenizer.eos_id, "special tokens of the template are encoded as such"


def test_an_empty_prompt_begins_with_the_token_that_begins_a_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path))
    assert tokenizer.encode_prompt(Text("")) == [tokenizer.eos_id]
    bare = Tokenizer.load(saved(byte_level(), tmp_path, bos_token=None, eos_token=None))
    with pytest.raises(UnsupportedField):
        bare.encode_prompt(Text(""))


@pytest.mark.parametrize("prompt", [Chat((Message("user", "x"),)), TokenIds((10**6,)), TokenIds((-1,))])
def test_prompts_it_cannot_encode_are_refused(prompt: Chat | TokenIds, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path))
    with pytest.raises(UnsupportedField):
        tokenizer.encode_prompt(prompt)


def test_a_template_may_refuse_a_conversation(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path, chat_template=CHATML))
    with pytest.raises(UnsupportedField, match="the user goes first"):
        tokenizer.encode_prompt(Chat((Message("assistant", "x"),)))


def test_a_template_cannot_leave_its_sandbox(tmp_path: Path) -> None:
    escape = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path, chat_template=escape))
    with pytest.raises(UnsupportedField):
        tokenizer.encode_prompt(Chat((Message("user", "x"),)))


def test_templates_in_other_places(tmp_path: Path) -> None:
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": "a{{ eos_token }}"}]
    tokenizer = Tokenizer.load(saved(byte_level(), tmp_path, chat_template=named))
    assert tokenizer.decode(tokenizer.encode_prompt(Chat(()))) == "a"
    (tmp_path / "chat_template.jinja").write_text("from a file")
    assert Tokenizer.load(tmp_path).decode(Tokenizer.load(tmp_path).encode_prompt(Chat(()))) == "from a file"


def test_a_faulty_template_is_found_when_loading(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="chat template"):
        Tokenizer.load(saved(byte_level(), tmp_path, chat_template="{% if %}"))


def test_chat_prompts_equal_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = saved(byte_level(), tmp_path, bos_token=END, chat_template=CHATML)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    messages = [Message("system", "be <brief> & kind"), Message("user", "é 😀\n{% x %}")]
    spelled = [{"role": message.role, "content": message.content} for message in messages]
    expected = theirs.apply_chat_template(spelled, add_generation_prompt=True, tokenize=False)
    ours = Tokenizer.load(folder)
    assert ours.encode_prompt(Chat(tuple(messages))) == theirs.encode(expected, add_special_tokens=False)
