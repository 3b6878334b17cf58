"""Mask: what it withstands is part of the Signal, and nothing runs unmasked under its name."""

import pytest
import torch
from tacit.privacy.claim import Observer, event_of
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.event import DiscreteGaussian as DiscreteGaussianEvent
from tacit.privacy.event import NonPrivate
from tacit.privacy.pipeline import Env, PipelineError, pipeline
from tacit.privacy.signal import Masks, Signal
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.discrete import DiscreteGaussian
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.mask import Mask
from tacit.privacy.updates import Dense

STAGES = [Clip(1.0), Encode(20), DiscreteGaussian(1.0)]
SOURCE = Signal(8, "owner", least=3, most=3)


def test_masks_are_what_protects_shares_from_the_server() -> None:
    server = Observer("server")
    assert isinstance(event_of(pipeline(SOURCE, STAGES).final, server), NonPrivate)
    assert isinstance(event_of(pipeline(SOURCE, [*STAGES, Mask()]).final, server), DiscreteGaussianEvent)


def test_they_withstand_so_many_helpers_of_the_server_and_no_more() -> None:
    line = pipeline(SOURCE, [*STAGES, Mask(colluders=1)])
    assert line.final.masked == Masks("malicious", 1)
    assert isinstance(event_of(line.final, Observer("server", 1)), DiscreteGaussianEvent)
    found = event_of(line.final, Observer("server", 2))
    assert isinstance(found, NonPrivate)
    assert "withstand 1" in found.reason


def test_a_sparse_graph_may_be_bad_and_that_is_charged() -> None:
    full, sparse = (pipeline(SOURCE, [*STAGES, Mask(kind)]).final for kind in ("malicious", "semi-honest"))
    assert sparse.delta_extra == full.delta_extra + 2.0**-40


def test_somebody_must_be_honest() -> None:
    with pytest.raises(PipelineError, match="nobody honest"):
        pipeline(SOURCE, [*STAGES, Mask(colluders=3)])
    for count in (-1, True, 0.5):
        with pytest.raises(PipelineError, match="colluders"):
            Mask(colluders=count)  # type: ignore[arg-type]  # as a file may have it


def test_only_who_has_masked_may_send() -> None:
    line = pipeline(SOURCE, [*STAGES, Mask()])
    update, env = Dense(torch.zeros(1, 8)), Env(SeededEntropy(0), 1, owner_ids=(0,))
    with pytest.raises(PipelineError, match="in the clear"):
        line.send(update, env)
    masked = line.send(update, Env(SeededEntropy(0), 1, owner_ids=(0,), masked=True)).total()
    assert torch.equal(masked, pipeline(SOURCE, STAGES).send(update, env).total())
    assert torch.equal(line.receive(masked, env).total, pipeline(SOURCE, STAGES).receive(masked, env).total)
