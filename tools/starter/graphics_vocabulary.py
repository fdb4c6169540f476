"""The tokens that the text tower for drawings knows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor


class Vocabulary:
    """Numbers for the tokens that queries for drawings use; all others share the last one."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self._numbers = {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens) + 1

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Int64 numbers [n, t] and a bool mask [n, t]."""
        other = len(self.tokens)
        rows = [
            [self._numbers.get(token, other) for token in encoding.ids]
            for encoding in tokenizer.encode_batch(list(texts))
        ]
        length = max(map(len, rows))
        numbers = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
        return numbers, mask
