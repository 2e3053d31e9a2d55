"""The tokenizer keeps newlines and indents apart, so a prompt is tokenised in use as in training."""

from itertools import islice

import pytest
from tokenizers import Tokenizer

from trainer.bundled import stream
from trainer.bundled.tokenizer import (
    END,
    FIM_MIDDLE_ID,
    FIM_PREFIX_ID,
    FIM_SUFFIX_ID,
    FIM_TOKENS,
    START,
    UNKNOWN,
    train_tokenizer,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(seed=0, problems=300, size=700)


def test_special_tokens_have_the_first_ids(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in (UNKNOWN, START, END)] == [0, 1, 2]
    prefix, middle, suffix, _ = FIM_TOKENS
    gap = [tokenizer.token_to_id(token) for token in (prefix, middle, suffix)]
    assert gap == [FIM_PREFIX_ID, FIM_MIDDLE_ID, FIM_SUFFIX_ID]


def test_a_prompt_begins_with_the_start_token_once(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("def f(x):\n").ids
    assert ids[0] == 1
    assert 1 not in ids[1:]


def test_prompt_and_body_together_are_prompt_then_body(tokenizer: Tokenizer) -> None:
    for problem in islice(stream(3), 200):
        together = tokenizer.encode(problem.prompt + problem.body).ids
        body = tokenizer.encode(problem.body, add_special_tokens=False).ids
        assert together == tokenizer.encode(problem.prompt).ids + body


def test_a_prompt_without_its_last_newline_is_the_same_but_for_one_token(tokenizer: Tokenizer) -> None:
    for problem in islice(stream(4), 200):
        whole = tokenizer.encode(problem.prompt).ids
        assert tokenizer.encode(problem.prompt[:-1]).ids == whole[:-1]
        assert tokenizer.decode(whole[-1:]) == "\n"


@pytest.mark.parametrize("text", ["    return x\n", "été 数字 🙂\t\n", "a  b   c     d\n\n\n        e", ""])
def test_any_text_survives(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_same_seed_learns_the_same_vocabulary(tokenizer: Tokenizer) -> None:
    assert train_tokenizer(seed=0, problems=300, size=700).to_str() == tokenizer.to_str()
