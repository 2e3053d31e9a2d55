"""Classifiers: what the light backend says is what transformers says; a folder that is not whole is refused by name."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from engine import (
    Classifier,
    InvalidModel,
    MissingExtra,
    ModelNotFound,
    ScriptedClassifier,
    UnsupportedModel,
    convert_classifier,
    find_verifier,
    is_convertible,
    load_classifier,
    seal_verifier,
)
from engine.classify.batches import batches
from tests.contracts.classifier import ClassifierContract

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>"]
WORDS = SPECIAL + list("fx+-12():#") + ["def", "return", "if", "else", "passed", "failed"]
TEXTS = ["def f ( x ) : return x + 1", "def f ( x ) : return x - 1 # failed", "f", " ".join(["return x"] * 60)]


def tokenizer_folder(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def checkpoint(folder: Path, kind: str) -> Path:
    """A made classifier with large random weights, so that its answers differ from text to text."""
    sizes: dict[str, Any] = {"vocab_size": len(WORDS), "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"hidden_size": 32, "intermediate_size": 64, "pad_token_id": 2, "num_labels": 2, "initializer_range": 0.3}
    configs: dict[str, Any] = {
        "roberta": (transformers.RobertaConfig, {"max_position_embeddings": 70, "type_vocab_size": 1}),
        "bert": (transformers.BertConfig, {"max_position_embeddings": 70}),
        "gpt2": (transformers.GPT2Config, {}),
    }
    make, more = configs[kind]
    torch.manual_seed(3)
    if kind == "gpt2":
        sizes = {"vocab_size": len(WORDS), "n_layer": 1, "n_head": 2, "n_embd": 32, "pad_token_id": 2, "num_labels": 2}
    auto: Any = transformers.AutoModelForSequenceClassification
    auto.from_config(make(**sizes, **more)).save_pretrained(folder / "hf")
    tokenizer_folder(folder / "hf")
    return folder


def seal(folder: Path, temperature: float = 1.0) -> None:
    seal_verifier(
        folder, id=folder.name, execution=True, input_format=1, max_tokens=64, temperature=temperature, metrics={}
    )


@pytest.fixture
def roberta(tmp_path: Path) -> Path:
    folder = checkpoint(tmp_path / "made", "roberta")
    convert_classifier(folder / "hf", folder / "ct2-float32", "float32")
    seal(folder)
    return folder


def ask(folder: Path, backend: str, texts: list[str] = TEXTS) -> list[float]:
    async def work() -> list[float]:
        classifier = load_classifier(folder, backend=backend)
        try:
            return await classifier.probabilities(texts)
        finally:
            await classifier.aclose()

    return asyncio.run(work())


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_the_light_backend_agrees_with_transformers(tmp_path: Path, kind: str) -> None:
    folder = checkpoint(tmp_path / kind, kind)
    convert_classifier(folder / "hf", folder / "ct2-float32", "float32")
    seal(folder)
    expected = ask(folder, "transformers")
    assert np.ptp(expected) > 0.01  # they differ, or agreement would say nothing
    assert ask(folder, "ctranslate2") == pytest.approx(expected, abs=1e-4)


def test_a_batch_does_not_change_what_a_text_gets(roberta: Path) -> None:
    together = ask(roberta, "ctranslate2")
    assert [ask(roberta, "ctranslate2", [text])[0] for text in TEXTS] == pytest.approx(together, abs=1e-5)
    assert ask(roberta, "ctranslate2", []) == []


def test_the_temperature_divides_the_logits(roberta: Path) -> None:
    before = np.array(ask(roberta, "ctranslate2"))
    seal(roberta, temperature=2.0)
    after = np.array(ask(roberta, "ctranslate2"))
    assert np.log(after / (1 - after)) == pytest.approx(np.log(before / (1 - before)) / 2, abs=1e-4)


def test_int8_is_preferred_and_close(roberta: Path) -> None:
    exact = ask(roberta, "ctranslate2")
    convert_classifier(roberta / "hf", roberta / "ct2-int8", "int8")
    seal(roberta)
    classifier = load_classifier(roberta)
    assert classifier.info.dtype == "int8"
    asyncio.run(classifier.aclose())
    # One text in four was off by 0.22 on a CPU without VNNI, whose 16-bit sums saturate; the weights here are huge.
    assert np.mean(np.abs(np.subtract(ask(roberta, "auto"), exact))) < 0.15


@pytest.mark.parametrize("name", ["ct2-float32/model.bin", "ct2-float32/head.npz", "hf/tokenizer.json"])
def test_a_corrupt_file_is_named(roberta: Path, name: str) -> None:
    path = roberta / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InvalidModel, match=rf"{name}: changed"):
        load_classifier(roberta)


@pytest.mark.parametrize("name", ["model.bin", "head.npz", "tokenizer.json"])
def test_a_file_that_is_sealed_as_nonsense_is_named(roberta: Path, name: str) -> None:
    (roberta / "ct2-float32" / name).write_bytes(b"nonsense")
    seal(roberta)
    with pytest.raises(InvalidModel, match=name):
        load_classifier(roberta)


def test_a_faulty_manifest_is_named_with_its_field(roberta: Path) -> None:
    path = roberta / "manifest.json"
    data = json.loads(path.read_text())
    for field, value in (("temperature", 0), ("max_tokens", "many"), ("kind", "model"), ("extra", 1)):
        path.write_text(json.dumps(data | {field: value}))
        with pytest.raises(InvalidModel, match=field):
            load_classifier(roberta)
    path.write_text("{")
    with pytest.raises(InvalidModel, match="manifest"):
        load_classifier(roberta)


def test_other_kinds_are_for_transformers(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "decoder", "gpt2")
    assert not is_convertible(folder / "hf")
    with pytest.raises(UnsupportedModel, match=r"GPT2ForSequenceClassification.*touchstone\[transformers\]"):
        convert_classifier(folder / "hf", folder / "ct2-float32", "float32")
    seal(folder)
    values = ask(folder, "auto")
    assert len(values) == len(TEXTS)
    assert all(0 < value < 1 for value in values)
    one_by_one = [ask(folder, "auto", [text])[0] for text in TEXTS]
    assert values == pytest.approx(one_by_one, abs=1e-5)


def test_other_kinds_without_transformers_name_the_extra(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "decoder", "gpt2")
    seal(folder)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom engine import MissingExtra, load_classifier\n"
        f"try: load_classifier(Path({str(folder)!r}))\nexcept MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'touchstone[transformers]'" in done.stdout
    assert MissingExtra.__name__


def test_serving_a_conversion_loads_no_torch(roberta: Path) -> None:
    shutil.rmtree(roberta / "hf")
    seal(roberta)
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom engine import load_classifier\n"
        f"classifier = load_classifier(Path({str(roberta)!r}))\n"
        "print(len(asyncio.run(classifier.probabilities(['def f', 'x']))))\nasyncio.run(classifier.aclose())\n"
        "print(*[m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"]


def test_a_verifier_is_found_by_path_or_id(roberta: Path, tmp_path: Path) -> None:
    (tmp_path / "verifiers").mkdir()
    shutil.copytree(roberta, tmp_path / "verifiers" / "mine")
    assert find_verifier(str(roberta), tmp_path) == roberta
    assert find_verifier("mine", tmp_path) == tmp_path / "verifiers" / "mine"
    with pytest.raises(ModelNotFound, match=r"known: .*mine"):
        find_verifier("yours", tmp_path)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ModelNotFound, match=r"bare: .*manifest\.json is missing"):
        find_verifier(str(tmp_path / "bare"), tmp_path)


def test_batches_are_of_like_length_and_bounded() -> None:
    lengths = [5, 100, 6, 7, 90, 300]
    found = batches(lengths, most_tokens=200)
    assert sorted(place for group in found for place in group) == list(range(len(lengths)))
    assert [[lengths[place] for place in group] for group in found] == [[5, 6, 7], [90, 100], [300]]


class WithTexts(ClassifierContract):
    @pytest.fixture
    def texts(self) -> list[str]:
        return TEXTS[:3]


class TestTheLightBackend(WithTexts):
    @pytest.fixture
    async def classifier(self, roberta: Path) -> AsyncIterator[Classifier]:
        classifier = load_classifier(roberta, backend="ctranslate2")
        yield classifier
        await classifier.aclose()


class TestTransformers(WithTexts):
    @pytest.fixture
    async def classifier(self, roberta: Path) -> AsyncIterator[Classifier]:
        classifier = load_classifier(roberta, backend="transformers")
        yield classifier
        await classifier.aclose()


class TestTheDouble(WithTexts):
    @pytest.fixture
    async def classifier(self) -> AsyncIterator[Classifier]:
        classifier = ScriptedClassifier({"- 1": 0.2, "+ 1": 0.9, "f": 0.5})
        yield classifier
        await classifier.aclose()
