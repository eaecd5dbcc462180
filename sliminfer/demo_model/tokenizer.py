"""The demo model's tokenizer: byte-level BPE with single digits, and a chat template that is the task prompt."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sliminfer.model.chat import ANSWER_PREFIX

PAD, BOS, EOS = 0, 1, 2
SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|eos|>")
VOCABULARY_SIZE = 4096
MAX_POSITIONS = 16_384
TOKENIZER_FILE = "tokenizer.json"

# Message contents are written as they are. The answer's line break stands in a string, for Transformers renders
# with trim_blocks, which swallows one right after a block.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ANSWER_PREFIX.replace("\n", "\\n") + "' }}{% endif %}"
)


def train_tokenizer(texts: Iterator[str], vocabulary_size: int = VOCABULARY_SIZE) -> Tokenizer:
    """Train a byte-level BPE on `texts`; every digit is a token of its own, so numbers can be copied exactly."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json` of a model folder."""
    return Tokenizer.from_file(str(folder / TOKENIZER_FILE))


def as_transformers(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer as Transformers loads it, with the chat template."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL_TOKENS[PAD],
        bos_token=SPECIAL_TOKENS[BOS],
        eos_token=SPECIAL_TOKENS[EOS],
        model_max_length=MAX_POSITIONS,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
