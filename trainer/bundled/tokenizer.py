"""The tokenizer: byte-level BPE that never joins a newline with the indent after it.

GPT-2's pre-tokenisation makes one token of a newline and the spaces after it, so a prompt that ends in a newline would
end in a token the model has never seen there. Here newlines, indents of four and digits stand alone. Hence the tokens
of a prompt followed by a body are the tokens of both together, whether or not the prompt carries the last newline.

`encode(prompt)` puts `<s>` in front, as training does; a body ends in `</s>`.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from trainer.bundled.chat import CHAT_TEMPLATE, commented
from trainer.bundled.corpus import stream

VOCABULARY_SIZE = 1536
UNKNOWN, START, END = "<unk>", "<s>", "</s>"
UNKNOWN_ID, START_ID, END_ID = 0, 1, 2
FIM_TOKENS = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
"""StarCoder's, in its order; a gap is laid out as prefix, suffix, middle, without `<s>`."""
FIM_PREFIX_ID, FIM_MIDDLE_ID, FIM_SUFFIX_ID = 3, 4, 5


def train_tokenizer(seed: int, problems: int, size: int = VOCABULARY_SIZE) -> Tokenizer:
    """Learn the vocabulary from the first problems of the stream, prompts and bodies apart."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n|(?: {4})+|\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()

    def texts() -> Iterator[str]:
        for problem in islice(stream(seed), problems):
            yield problem.prompt
            yield problem.body
            if problem.shown:  # the words of chats, as the chat template lays them out
                yield commented(problem.sentence)

    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[UNKNOWN, START, END, *FIM_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, START_ID)])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`; `context` is the model's limit in tokens."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNKNOWN,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "additional_special_tokens": list(FIM_TOKENS),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
