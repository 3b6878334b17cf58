"""Mask: can be planned with, and never runs unmasked under its name."""

import pytest
import torch
from tacit.privacy.claim import Observer, event_of
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.event import DiscreteGaussian as DiscreteGaussianEvent
from tacit.privacy.event import NonPrivate
from tacit.privacy.pipeline import Env, PipelineError, pipeline
from tacit.privacy.signal import Signal
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


def test_it_refuses_to_run() -> None:
    line = pipeline(SOURCE, [*STAGES, Mask()])
    env = Env(SeededEntropy(0), 1, owner_ids=(0,))
    with pytest.raises(PipelineError, match="cannot mask"):
        line.send(Dense(torch.zeros(1, 8)), env)
    with pytest.raises(PipelineError, match="cannot mask"):
        line.receive(line.empty(), env)
