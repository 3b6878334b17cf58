"""Model file: a certificate's digest is found again in the file of the model, and in no other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from tacit.simulation.weights import to_bytes
from tacit.strategies.modelfile import ModelFileError, digest_of, found_in
from tacit.tasks.trainable import Trainable
from torch import nn


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))


def file(path: Path, made: nn.Module, layout: object = None) -> Path:
    slots = [{"name": slot.name, "shape": list(slot.shape)} for slot in Trainable(made, ("0.*", "2.*")).layout]
    path.write_bytes(to_bytes(made, {"layout": slots if layout is None else layout}))
    return path


def digest(made: nn.Module) -> str:
    trainable = Trainable(made, ("0.*", "2.*"))
    numbers = trainable.flatten(made).numpy().astype("<f4").tobytes()
    return digest_of([(slot.name, slot.shape) for slot in trainable.layout], numbers)


def test_the_digest_is_what_its_page_says() -> None:
    by_hand = hashlib.sha256(b'tacit model 1\0[["w",[2]]]\0' + bytes.fromhex("0000003f000080bf")).hexdigest()
    assert digest_of([("w", (2,))], torch.tensor([0.5, -1.0]).numpy().tobytes()) == by_hand
    with pytest.raises(ModelFileError, match="8"):
        digest_of([("w", (3,))], bytes(8))


def test_it_is_found_again_in_the_file_and_nothing_else_is_covered(tmp_path: Path) -> None:
    made = module()
    found = found_in(file(tmp_path / "model", made))
    assert found.digest == digest(made)
    assert found.others == ("1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight")


def test_any_changed_number_is_another_model(tmp_path: Path) -> None:
    made = module()
    before = digest(made)
    for name, parameter in made.named_parameters():
        if name.startswith("1."):
            continue
        with torch.no_grad():
            flat = parameter.view(-1)
            kept = flat[-1].item()
            flat[-1] = torch.nextafter(flat[-1], torch.tensor(9.0))
            assert found_in(file(tmp_path / "model", made)).digest != before
            flat[-1] = kept
    assert found_in(file(tmp_path / "model", made)).digest == before


def test_numbers_under_other_names_are_another_model(tmp_path: Path) -> None:
    """The vector is the same where two layers change their places with their names in the layout: the model is not."""
    made, swapped = module(), module()
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    for one, other in (("0.weight", "2.weight"), ("0.bias", "2.bias")):
        state[one], state[other] = state[other], state[one]
    swapped.load_state_dict(state)
    names = ["2.weight", "2.bias", "0.weight", "0.bias"]
    layout = [{"name": name, "shape": list(state[name].shape)} for name in names]
    assert found_in(file(tmp_path / "model", swapped, layout)).digest != digest(made)


@pytest.mark.parametrize("content", [b"", b"\x02", bytes(8) + b"{}", (2).to_bytes(8, "little") + b"{}", b"\xff" * 64])
def test_what_is_no_model_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelFileError, match="give `model"):
        found_in(tmp_path / "x")


@pytest.mark.parametrize(
    ("key", "value"),
    [("data_offsets", [0, 8]), ("data_offsets", [-4, 32]), ("dtype", "F16"), ("shape", [9]), ("shape", 3)],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, key: str, value: object) -> None:
    content = file(tmp_path / "model", module()).read_bytes()
    size = int.from_bytes(content[:8], "little")
    rows = json.loads(content[8 : 8 + size])
    rows["0.weight"][key] = value
    header = json.dumps(rows).encode()
    (tmp_path / "model").write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    with pytest.raises(ModelFileError):
        found_in(tmp_path / "model")
    twice = [{"name": "0.bias", "shape": [3]}] * 2
    with pytest.raises(ModelFileError, match="twice"):
        found_in(file(tmp_path / "twice", module(), twice))
