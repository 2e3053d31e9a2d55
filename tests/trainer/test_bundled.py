"""Making a bundled model: the loop learns, its files load without torch, an interrupted run goes on."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import ctranslate2
import torch
from tokenizers import Tokenizer

import engine.tokens
from engine import Fim
from trainer import BadBudget, OtherRun, OutputExists
from trainer.bundled import Document, documents
from trainer.bundled.batches import BEGUN_WEIGHT, PROMPT_WEIGHT, batches
from trainer.bundled.checkpoint import States
from trainer.bundled.export import write_model
from trainer.bundled.make import Made, Maker, Plan
from trainer.bundled.model import TINY, Shape, build_model, count_parameters
from trainer.bundled.team import Team
from trainer.bundled.tokenizer import FIM_MIDDLE_ID, FIM_PREFIX_ID, FIM_SUFFIX_ID, save_tokenizer, train_tokenizer
from trainer.bundled.train import Budget, Recipe, Run, rate_factor

RECIPE = Recipe(batch_tokens=512, chunk=64, validation_problems=16, warmup_steps=4, reports=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in training; two threads on busy cores wait for each other at every operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(seed=0, problems=400)


def make_run(tokenizer: Tokenizer, tokens: int) -> Run:
    return Run(build_model(TINY, 0), tokenizer, recipe=RECIPE, budget=Budget(tokens=tokens), seed=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    out = tmp_path_factory.mktemp("models") / "tiny"
    maker = Maker(Plan(out=out, seed=0, budget=Budget(tokens=4000), processes=1, tiny=True), Team())
    assert [progress.validation_loss for progress in maker.train()][-1] is not None
    return out, maker.write()


@pytest.mark.long
def test_the_loss_falls_and_a_run_is_repeatable(tokenizer: Tokenizer) -> None:
    first, second = make_run(tokenizer, 9000), make_run(tokenizer, 9000)
    before = first.validate()
    losses = [progress.training_loss for progress in first.progress()]
    assert losses == [progress.training_loss for progress in second.progress()]
    assert first.validate() < before - 0.5


@pytest.mark.long
def test_an_interrupted_run_goes_on_where_it_was(tokenizer: Tokenizer, tmp_path: Path) -> None:
    whole = make_run(tokenizer, 3000)
    expected = list(whole.progress())
    broken = make_run(tokenizer, 3000)
    for _ in islice(broken.progress(), 3):
        pass
    torch.save(broken.state(), tmp_path / "state")
    resumed = make_run(tokenizer, 3000)
    resumed.restore(torch.load(tmp_path / "state", weights_only=True))
    rest = list(resumed.progress())
    assert [(now.tokens, now.report) for now in rest] == [(now.tokens, now.report) for now in expected[3:]]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_only_a_complete_set_of_states_counts(tmp_path: Path) -> None:
    class Pair(Team):
        """One of two that waits for nobody."""

        def meet(self) -> None:
            pass

    states = States(tmp_path, Pair(0, 2), {"seed": 0})
    assert states.load() is None
    for rank, step in ((0, 4), (1, 4), (0, 8)):  # the second process died before its part of step 8
        (tmp_path / f"state-{step:06}.{rank}-of-2").touch()
    torch.save({"plan": {"seed": 0}, "step": 4}, tmp_path / "state-000004.0-of-2")
    state = states.load()
    assert state is not None
    assert state["step"] == 4


def test_a_newer_state_replaces_the_older(tmp_path: Path) -> None:
    states = States(tmp_path, Team(), {"seed": 0})
    states.save(3, {"step": 3})
    states.save(6, {"step": 6})
    assert [path.name for path in tmp_path.iterdir()] == ["state-000006.0-of-1"]
    with pytest.raises(OtherRun, match="with seed 0, not 1"):
        States(tmp_path, Team(), {"seed": 1}).load()
    with pytest.raises(OtherRun, match="1 processes, not 2"):
        States(tmp_path, Team(0, 2), {"seed": 0}).load()


def test_body_counts_fully_and_prompt_a_tenth(tokenizer: Tokenizer) -> None:
    document = Document("def f(x):\n", "    return x\n")
    batch = next(batches([document], tokenizer, tokens=384, longest=384, seed=0))
    prompt = len(tokenizer.encode(document.prompt).ids)
    target = len(tokenizer.encode(document.target, add_special_tokens=False).ids)
    weights = batch.weights[0, 1:]  # the first token is nobody's target
    assert torch.all(weights[: prompt - 2] == torch.tensor(PROMPT_WEIGHT))
    assert torch.all(weights[prompt - 2 : prompt + target] == 1)  # the prompt's newline, the body, the end
    assert torch.all(weights[prompt + target :] == 0)
    assert batch.tokens == prompt + target + 1


def test_a_gap_is_laid_out_as_the_engine_asks(tokenizer: Tokenizer, tmp_path: Path) -> None:
    document = Document("def f(x):\n", "y = x", begun="    ", after="\n    return y\n")
    batch = next(batches([document], tokenizer, tokens=384, longest=384, seed=0))
    save_tokenizer(tokenizer, tmp_path, 384)
    prompt = Fim(document.prompt + document.begun, document.after or "")
    asked = engine.tokens.Tokenizer.load(tmp_path).encode_prompt(prompt)
    assert batch.ids[0, : len(asked)].tolist() == asked
    weights = batch.weights[0].tolist()
    by_id = {
        token: weights[batch.ids[0].tolist().index(token)] for token in (FIM_MIDDLE_ID, FIM_PREFIX_ID, FIM_SUFFIX_ID)
    }
    assert set(by_id.values()) == {0}
    suffix = asked.index(FIM_SUFFIX_ID)
    assert weights[suffix - 1] == BEGUN_WEIGHT
    target = len(tokenizer.encode(document.target, add_special_tokens=False).ids) + 1
    assert weights[len(asked) : len(asked) + target] == [1.0] * target


def test_batches_lose_no_document_that_fits(tokenizer: Tokenizer) -> None:
    texts = list(islice(documents(1), 100))
    made = list(batches(texts, tokenizer, tokens=2048, longest=1000, seed=0))
    assert sum(int((batch.weights.sum(1) > 0).sum()) for batch in made) == 100
    assert all(batch.ids.numel() <= 2048 for batch in made)


def test_the_rate_warms_up_holds_and_falls() -> None:
    assert rate_factor(0.0, 0, 10) == pytest.approx(0.1)
    assert rate_factor(0.3, 100, 10) == 1
    assert rate_factor(0.75, 100, 10) == pytest.approx(0.5)
    assert 0 < rate_factor(1.2, 100, 10) < 0.05


@pytest.mark.parametrize(("tokens", "minutes"), [(None, None), (10, 1.0)])
def test_a_budget_is_tokens_or_minutes(tokens: int | None, minutes: float | None) -> None:
    with pytest.raises(BadBudget):
        Budget(tokens=tokens, minutes=minutes)


def test_the_real_shape_has_the_size_that_is_shipped() -> None:
    assert 3_600_000 < count_parameters(build_model(Shape(), 0)) < 5_000_000


def test_the_folders_hold_what_serving_without_torch_needs(made: tuple[Path, Made]) -> None:
    out, facts = made
    assert {path.name for path in (out / "hf").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert {path.name for path in (out / "ct2-int8").iterdir()} == {
        "config.json", "model.bin", "tokenizer.json", "tokenizer_config.json", "vocabulary.json",
    }  # fmt: skip
    # The tied embedding is stored once: two bytes a parameter, one in int8 (and little besides).
    assert (out / "hf" / "model.safetensors").stat().st_size < 2.1 * facts.parameters
    assert (out / "ct2-int8" / "model.bin").stat().st_size < 1.2 * facts.parameters
    assert [path.name for path in out.parent.iterdir()] == ["tiny"]
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["id"], manifest["family"], manifest["conversions"]) == ("tiny", "touchstone", ["int8"])


def test_ctranslate2_knows_the_tokenizers_tokens_and_generates(made: tuple[Path, Made]) -> None:
    folder = made[0] / "ct2-int8"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    assert vocabulary == [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    generator = ctranslate2.Generator(str(folder), intra_threads=1)
    tokens = tokenizer.encode("def f(x: int) -> int:\n").tokens
    [result] = generator.generate_batch([tokens], max_length=8, include_prompt_in_result=False)
    assert all(0 <= index < len(vocabulary) for index in result.sequences_ids[0])


def test_transformers_loads_it_and_renders_chats(made: tuple[Path, Made]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = made[0] / "hf"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float16
    assert count_parameters(model) == made[1].parameters  # counts the tied embedding once
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "def f(x):\n"}]
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert ids == tokenizer("def f(x):\n").input_ids
    assert ids == Tokenizer.from_file(str(folder / "tokenizer.json")).encode("def f(x):\n").ids
    words = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Sort the words.\n>>> f(['b', 'a'])"},
    ]
    ids = tokenizer.apply_chat_template(words, tokenize=True, return_dict=False)
    assert ids == tokenizer("# Sort the words.\n# >>> f(['b', 'a'])\n").input_ids


def test_a_model_is_never_written_over_another(made: tuple[Path, Made], tokenizer: Tokenizer) -> None:
    with pytest.raises(OutputExists):
        write_model(build_model(TINY, 0), tokenizer, made[0], source="")
