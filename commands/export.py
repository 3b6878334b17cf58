"""`tacit export`: the trained model as one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .flags import Json, RunPath


def command(
    run: RunPath,
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write; must not exist.")],
    as_json: Json = False,
) -> None:
    """Write the model of a run as safetensors, for any program that reads them.

    The file's metadata hold the task, the names and shapes of what was trained, and the privacy claims. In Python:
    `module.load_state_dict(safetensors.torch.load_file("model.safetensors"))`.

    Example: `tacit export runs/digits-20261123-101500 digits.safetensors`
    """
    from ..simulation.saved import export
    from .screen import say, show_json

    metadata = export(run, target)
    if as_json:
        show_json({"file": str(target), "bytes": target.stat().st_size, **metadata})
        return
    size = target.stat().st_size
    say(f"{target}: {size:,} bytes, {len(metadata['layout'])} trained parameters of the task {metadata['task']['use']}")
    for slot in metadata["layout"]:
        say(f"  {slot['name']}  {' × '.join(map(str, slot['shape'])) or 'scalar'}")
    from .progress import epsilon

    first = metadata["claims"][0]
    say(
        f"ε = {epsilon(first['epsilon'])} at δ = {first['delta']:.2g} per {first['unit']}, for the {first['observer']}; "
        f"all claims are in the file"
    )
