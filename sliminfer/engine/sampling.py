"""Choosing the next token, and turning tokens into text as they come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper


class Sampler:
    """Greedy at temperature 0, otherwise seeded sampling from the nucleus of mass `top_p`."""

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self._greedy = temperature == 0.0
        self._generator = torch.Generator().manual_seed(seed)
        self._warpers = LogitsProcessorList()
        if not self._greedy:
            self._warpers.append(TemperatureLogitsWarper(temperature))
            if top_p < 1.0:
                self._warpers.append(TopPLogitsWarper(top_p))

    def __call__(self, logits: Tensor) -> int:
        """The next token id from the last position's logits [vocabulary]."""
        if self._greedy:
            return int(logits.argmax())
        # On the host and in fp32, so that a seed gives the same answer on every device.
        scores = self._warpers(torch.LongTensor([[]]), logits.float().cpu()[None])
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self._generator))

    def choose(self, logits: Tensor) -> Tensor:
        """As a call, on the device of `logits`, which is not waited for: the id, int64 [1]."""
        if self._greedy:
            return logits.argmax(-1, keepdim=True)
        # What torch.multinomial does with one draw, its noise from the same generator on the host.
        noise = torch.empty(len(logits), pin_memory=logits.is_cuda).exponential_(generator=self._generator)
        scores = self._warpers(torch.LongTensor([[]]), logits.float()[None])[0]
        return scores.softmax(-1).div_(noise.to(logits.device, non_blocking=True)).argmax(-1, keepdim=True)


class Detokenizer:
    """Text of a growing list of tokens; a character split over tokens is held back until it is whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = ""

    def add(self, token: int) -> str:
        """The text that `token` completes, possibly empty."""
        self._ids.append(token)
        text = self.text
        if text.endswith("\ufffd"):
            return ""
        fresh, self._shown = text[len(self._shown) :], text
        return fresh

    @property
    def text(self) -> str:
        """All text so far, special tokens left out."""
        decoded: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        return decoded
