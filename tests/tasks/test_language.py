"""Language models: causal, and the LSTM is the library's LSTM."""

from __future__ import annotations

import pytest
import torch
from tacit.tasks.language import Lstm, Transformer
from torch import nn


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_no_prediction_looks_ahead(model: str) -> None:
    module = Lstm(11, 8) if model == "lstm" else Transformer(11, 12, width=8, heads=2)
    symbols = torch.randint(11, (3, 12), generator=torch.Generator().manual_seed(0))
    changed = symbols.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 11
    before, after = module(symbols), module(changed)
    assert before.shape == (3, 12, 11)
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=(1, 2)).min() > 1e-4


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_every_earlier_symbol_counts(model: str) -> None:
    torch.manual_seed(1)
    module = Lstm(11, 8) if model == "lstm" else Transformer(11, 6, width=8, heads=2)
    symbols = torch.zeros(1, 6, dtype=torch.int64)
    last = module(symbols)[0, -1]
    for place in range(6):
        changed = symbols.clone()
        changed[0, place] = 3
        assert (module(changed)[0, -1] - last).abs().max() > 1e-6, place


def test_the_lstm_is_the_librarys() -> None:
    module = Lstm(7, 5)
    theirs = nn.LSTM(5, 5, batch_first=True)
    with torch.no_grad():
        # Both order the gates i, f, g, o; the library has a second bias.
        theirs.weight_ih_l0.copy_(module.input.weight)
        theirs.weight_hh_l0.copy_(module.state.weight)
        theirs.bias_ih_l0.copy_(module.input.bias)
        theirs.bias_hh_l0.zero_()
    symbols = torch.randint(7, (4, 9), generator=torch.Generator().manual_seed(2))
    hidden, _ = theirs(module.embed(symbols))
    assert torch.allclose(module(symbols), module.output(hidden), atol=1e-6)


def test_a_window_beyond_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match=r"13 symbols.*made for 12"):
        Transformer(11, 12)(torch.zeros(1, 13, dtype=torch.int64))


def test_attention_is_that_of_the_library() -> None:
    module = Transformer(11, 12, width=8, heads=2).blocks[0].attention
    hidden = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3))
    query, key, value = (module._split(layer(hidden)) for layer in (module.query, module.key, module.value))
    wanted = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert torch.allclose(module(hidden), module.output(wanted.transpose(1, 2).flatten(2)), atol=1e-6)
