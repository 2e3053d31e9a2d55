"""A small model with the bundled tokenizer, and groups for it."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
import transformers

from feedback import prompt_hash
from sandbox import ProgramClass
from trainer.groups import Group, Response, to_line
from trainer.tuning import Plan, Recipe, plan_to_json

BUNDLED = Path("engine/bundled/touchstone-3.8m/hf")
LADDER = {
    ProgramClass.SYNTAX_ERROR: -1.0,
    ProgramClass.RUNTIME_ERROR: -0.6,
    ProgramClass.PARTIAL: 0.0,
    ProgramClass.PASS: 1.0,
}


def write_model(folder: Path, **sizes: Any) -> Path:
    """A Llama with random weights in an `hf` folder."""
    untyped: Any = transformers
    torch.manual_seed(0)
    shape = {
        "vocab_size": 1536,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    untyped.utils.logging.disable_progress_bar()
    untyped.LlamaForCausalLM(untyped.LlamaConfig(**{**shape, **sizes})).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((BUNDLED / name).read_bytes())
    return folder


def made_response(text: str, cls: ProgramClass | None, **fields: Any) -> Response:
    """One answer, with the score of its class unless another is given."""
    known: dict[str, Any] = {"score": None if cls is None else LADDER[cls], "fraction": None, "source": "student"}
    return Response(**{"text": text, "ended": True, "program_class": cls, **known, **fields})


def made_group(number: int, responses: Sequence[Response], *, held_out: bool = False) -> Group:
    """A group whose prompt names its number."""
    prompt = {"kind": "text", "text": f"def f{number}(xs):\n    '''Return the sum of {number} numbers.'''\n"}
    split: Any = "held_out" if held_out else "train"
    return Group(prompt=prompt, prompt_hash=prompt_hash(prompt), split=split, responses=tuple(responses))


def made_groups(count: int, held_out: int = 2) -> list[Group]:
    """Groups of three to five responses."""
    random = Random(7)
    groups = []
    for number in range(count):
        classes = [ProgramClass.PASS, ProgramClass.PARTIAL, *random.choices(list(LADDER), k=random.randint(1, 3))]
        texts = [f"    return {'sum(xs)' if cls is ProgramClass.PASS else 'xs[9'} + {place}" for place, cls in
                 enumerate(classes)]  # fmt: skip
        responses = [made_response(text, cls) for text, cls in zip(texts, classes, strict=True)]
        groups.append(made_group(number, responses, held_out=number < held_out))
    return groups


def write_groups(path: Path, groups: Sequence[Group]) -> Path:
    """As a file of JSON lines."""
    path.write_text("".join(to_line(group) + "\n" for group in groups))
    return path


def write_plan(folder: Path, recipe: Recipe, groups: Sequence[Group] | None = None, name: str = "run") -> Path:
    """A plan over the folder's `base` and `groups.jsonl`, both made if they are not there."""
    if not (folder / "base").is_dir():
        write_model(folder / "base")
    if groups is not None or not (folder / "groups.jsonl").is_file():
        write_groups(folder / "groups.jsonl", groups or made_groups(9))
    plan = Plan(
        base=folder / "base",
        groups=folder / "groups.jsonl",
        out=folder / f"{name}-out",
        checkpoints=folder / f"{name}-checkpoints",
        recipe=recipe,
        threads=1,
    )
    path = folder / f"{name}.json"
    path.write_text(plan_to_json(plan))
    return path
