"""Topics: the next character of CPython's help topics, real English text that every Python brings along.

`pydoc_data.topics` holds some 80 topics ("assert", "with", …), the natural owners; its text differs a little between
versions of Python. Every fifth topic by name, from the first, is the public test set, so no topic is on both sides.
80 topics are too few owners for an honest owner-level δ: use this task at example level, where one example is one window.

An owner's own text is read by the source `text:PATH`.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .examples import DataError, Examples
from .language import Lstm, Transformer
from .losses import cross_entropy
from .metrics import NextSymbol
from .options import chosen
from .partition import Natural
from .task import Task, TaskError

# Fixed beforehand: an alphabet taken from the owners' text would tell which characters they use.
ALPHABET = string.printable[:95] + "\n"
UNKNOWN = len(ALPHABET)
SYMBOLS = UNKNOWN + 1
_NUMBER = {symbol: number for number, symbol in enumerate(ALPHABET)}

MODELS: Mapping[str, Callable[[int], nn.Module]] = {
    "lstm": lambda context: Lstm(SYMBOLS),
    "transformer": lambda context: Transformer(SYMBOLS, context),
}


def topics(*, model: str = "lstm", context: int = 32) -> Task:
    """Predict each next character of a window of `context`. `model`: lstm (45,537 parameters) or transformer (114,657)."""
    make = chosen("topics", "model", model, MODELS)
    if isinstance(context, bool) or not isinstance(context, int) or not 1 <= context <= 1024:
        raise TaskError(f"task topics: context = {context!r}; give a number of characters in 1..1024")
    return Task(
        name="topics",
        model=lambda: make(context),
        loss=cross_entropy,
        train=lambda: _halves(context)[0],
        test=lambda: _halves(context)[1],
        partition=Natural(),
        metrics=NextSymbol(),
        readers={"text": lambda path: _read(path, context)},
    )


def encoded(text: str) -> Tensor:
    """Symbol numbers `[len(text)]`: 0..95 in `ALPHABET`, 96 for any other character."""
    return torch.tensor([_NUMBER.get(symbol, UNKNOWN) for symbol in text], dtype=torch.int64)


def windows(text: str, context: int) -> tuple[Tensor, Tensor]:
    """Disjoint windows of `text` and the same moved on by one character, both `[⌊(len − 1)/context⌋, context]`."""
    symbols = encoded(text)
    count = max(len(symbols) - 1, 0) // context
    reach = count * context
    return symbols[:reach].reshape(count, context), symbols[1 : reach + 1].reshape(count, context)


def _joined(texts: Iterable[str], context: int) -> Examples:
    """The windows of all texts, each text a group of its own."""
    inputs, targets, groups = [], [], []
    for group, text in enumerate(texts):
        before, after = windows(text, context)
        inputs.append(before)
        targets.append(after)
        groups.append(torch.full((len(before),), group, dtype=torch.int64))
    return Examples(torch.cat(inputs), torch.cat(targets), torch.cat(groups))


def _read(path: Path, context: int) -> Examples:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}); give a UTF-8 text file") from error
    if len(text) <= context:
        raise DataError(f"{path}: fewer than {context + 1} characters; give a longer text or a shorter context")
    return _joined([text], context)


@functools.cache
def _halves(context: int) -> tuple[Examples, Examples]:
    from pydoc_data.topics import topics as bundle

    texts = [bundle[name] for name in sorted(bundle)]
    test = [text for place, text in enumerate(texts) if place % 5 == 0]
    train = [text for place, text in enumerate(texts) if place % 5 != 0]
    return _joined(train, context), _joined(test, context)
