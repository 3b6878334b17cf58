"""Starters: the configurations that `init` writes and `demo` runs, as text, so that the wheel holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..config import ConfigError

DIGITS = """\
# Many small owners learn to read handwritten digits; nobody can tell whether any one owner took part.
#   tacit plan federation.toml        what it costs in privacy, before any data is touched
#   tacit simulate federation.toml    train, and write a report
# norm, server_lr and the number of rounds were tuned on this data; that tuning is not charged to ε.

[task]
use = "digits"            # 8×8 images, bundled; or "breast-cancer", "topics", or your own "package.module:factory"
model = "softmax"         # on fixed edge features; "mlp" and "cnn" learn from pixels

[population]
owners = 479              # about three images each
partition = { use = "dirichlet", alpha = 0.3 }    # owners hold different digits; "iid" deals them evenly

[rounds]
total = 80
# Each owner is drawn with this probability, in secret, in every round. That is what makes ε small for an analyst.
participation = { use = "poisson", rate = 0.5 }

[local]
use = "sgd"               # one step over all of the owner's examples
lr = 1.0

[strategy]
use = "fedavg"
server_lr = 40.0          # the clip makes the mean update short; this makes up for it
tail_average = 0.5        # the final model is the mean over the second half: costs nothing, removes noise

[privacy]
unit = "owner"            # hide whether an owner took part, with all of its examples
relation = "add-remove"
delta = "N^-1.1"          # N is the number of owners
# What happens to an update on its way. "calibrate": the least noise whose ε stays within the budget.
pipeline = [
  { stage = "clip", norm = 0.3 },
  { stage = "central-gaussian", noise_multiplier = "calibrate" },
]

[budget]
observer = "analyst"      # whoever sees every published model; the server, which adds the noise, is trusted here
epsilon = 4.0

[evaluation]
every = 5
on = "public-test"
"""

BREAST_CANCER = """\
# Five institutions learn to tell benign from malignant; nobody, the server included, can tell whether any one record was used.
#   tacit plan federation.toml        what it costs in privacy, before any data is touched
#   tacit simulate federation.toml    train, and write a report
# norm, server_lr and the number of rounds were tuned on this data; that tuning is not charged to ε.

[task]
use = "breast-cancer"     # 569 clinical records, bundled
model = "logistic"

[population]
owners = 5                # 91 records each
partition = { use = "iid" }

[rounds]
total = 40
participation = { use = "everyone" }

[local]
# Every record's gradient is clipped by itself; the sum is divided by a public number, never by the true count.
use = "clipped-gradient"
norm = 0.25
denominator = 91          # records per owner, about: public, and fixed beforehand

[strategy]
use = "fedavg"
server_lr = 30.0           # the clip makes the mean update short; this makes up for it
tail_average = 0.5

[privacy]
unit = "example"          # hide whether a record was used, whoever holds it
relation = "add-remove"
delta = 1e-4
# Each institution adds its own noise, in full, before anything leaves it: nobody has to be trusted.
pipeline = [ { stage = "own-gaussian", noise_multiplier = "calibrate" } ]

[budget]
observer = "server"       # the strongest onlooker: it sees every single message
epsilon = 3.0

[evaluation]
every = 5
on = "public-test"
"""

TOPICS = """\
# Owners of text learn to predict the next character, without anybody learning whether one passage was used.
#   tacit plan federation.toml        what it costs in privacy, before any data is touched
#   tacit simulate federation.toml    train, and write a report

[task]
use = "topics"            # CPython's help topics: real English text, bundled with Python
model = "lstm"            # or "transformer"
context = 32              # characters that are looked back at

[population]
owners = 16
partition = { use = "iid" }

[rounds]
total = 10
participation = { use = "everyone" }

[local]
# DP-SGD inside every owner: examples are drawn in secret, each gradient is clipped, noise is added at every step.
use = "dp-sgd"
norm = 1.0
noise_multiplier = "calibrate"
rate = 0.05               # share of an owner's passages drawn at each step
denominator = 39          # public: the rate times the usual number of passages, 772
steps = 4
lr = 1.0

[strategy]
use = "fedavg"
server_lr = 1.0

[privacy]
unit = "example"          # one passage of text
relation = "add-remove"
delta = "N^-1.1"
pipeline = []             # the noise is inside the local work already

[budget]
observer = "server"
epsilon = 8.0

[evaluation]
every = 2
on = "public-test"
"""

STARTERS: Mapping[str, str] = {"digits": DIGITS, "breast-cancer": BREAST_CANCER, "topics": TOPICS}


def write_starter(folder: Path, text: str) -> Path:
    """Write `text` as `federation.toml` in `folder`; raises `ConfigError` where there is one already."""
    path = folder / "federation.toml"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give a folder, which need not exist")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already and is left as it is; give another folder, or remove it") from None
    return path
