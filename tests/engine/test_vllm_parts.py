"""What of the vllm engine needs no vLLM: its arguments, its requirements, and tokens to events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineFailed, InvalidSetting
from engine.types import Event, Finished, GenerationRequest, Sampling, Text, TextPiece
from engine.vllm_engine.arguments import checked
from engine.vllm_engine.requirements import kept

KNOWN = ("max_num_seqs", "gpu_memory_utilization", "model", "enforce_eager", "quantization")


def test_arguments_are_passed_on_by_vllms_names() -> None:
    given = {"max-num-seqs": 8, "ENFORCE_EAGER": "true", "gpu_memory_utilization": "0.5", "quantization": "gptq"}
    assert checked(given, KNOWN) == {
        "max_num_seqs": 8, "enforce_eager": True, "gpu_memory_utilization": 0.5, "quantization": "gptq",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("max_num_seq", r"engine\.vllm\.max_num_seq: .*nearest is 'max_num_seqs'"),
        ("model", r"engine\.vllm\.model: engine\.model names it"),
        ("trust-remote-code", r"engine\.vllm\.trust-remote-code: a model's own code"),
    ],
)
def test_what_vllm_does_not_have_or_is_not_to_be_set_is_refused_by_name(name: str, refusal: str) -> None:
    with pytest.raises(InvalidSetting, match=refusal):
        checked({name: 1}, KNOWN)


def test_requirements_leave_out_what_breaks_transformers() -> None:
    asked = ["torch==2.13.0+cpu; platform_machine == 'x86_64'", "torchvision; platform_machine != 'riscv64'"]
    asked += ["torchcodec>=0.14", "torchaudio", "msgspec", 'pandas; extra == "bench"']
    assert kept(asked) == ["torch==2.13.0; platform_machine == 'x86_64'", "msgspec"]


@dataclass(frozen=True)
class Logprob:
    logprob: float


class TestRows:
    @pytest.fixture
    def rows(self, checkpoint: Path) -> Any:
        from engine.tokens import Tokenizer
        from engine.vllm_engine.rows import Rows

        tokenizer = Tokenizer.load(checkpoint)
        self.ids = tokenizer.encode("return a + b")
        request = GenerationRequest(id="r", prompt=Text(""), n=2, sampling=Sampling(max_tokens=40, stop=(" + ",)))
        return Rows(request, tokenizer, frozenset({0}))

    def give(self, rows: Any, candidate: int, ids: list[int], ended: str | None = None) -> list[Event]:
        events: list[Event] = rows.take(candidate, ids, [{token: Logprob(-0.5)} for token in ids], ended)
        return events

    def test_a_stop_string_ends_one_candidate_and_what_comes_after_is_dropped(self, rows: Any) -> None:
        events = self.give(rows, 1, self.ids)
        [end] = [event for event in events if isinstance(event, Finished)]
        assert (end.candidate, end.text, end.finish_reason) == (1, "return a", "stop")
        assert rows.left == 1
        assert self.give(rows, 1, self.ids, "abort") == []

    def test_the_end_of_text_counts_and_does_not_show(self, rows: Any) -> None:
        [piece, end] = self.give(rows, 0, [self.ids[0], 0], "stop")
        assert isinstance(piece, TextPiece)
        assert isinstance(end, Finished)
        assert (end.token_count, len(end.tokens), end.finish_reason) == (2, 1, "stop")

    def test_padding_of_the_vocabulary_has_no_text(self, rows: Any) -> None:
        [*_, end] = self.give(rows, 0, [10_000, self.ids[0]], "length")
        assert isinstance(end, Finished)
        assert end.tokens[0].text == ""

    def test_an_abort_is_a_cancellation_and_an_error_an_error(self, rows: Any) -> None:
        [end] = self.give(rows, 0, [], "abort")
        assert isinstance(end, Finished)
        assert end.finish_reason == "cancelled"
        with pytest.raises(EngineFailed, match="'error'"):
            self.give(rows, 1, [], "error")
