"""Starter: the `agent.toml` that enrolment leaves, to be filled in. It permits nothing before somebody has named the data."""

from __future__ import annotations

from ..strategies import keyfile
from .home import ClientHome

TEXT = """\
# What this owner permits. No server can lower any of it. Whatever decides privacy has to be said here.
#   tacit client policy check federation.toml --policy agent.toml    would this owner take part, and what would it cost?
# Read every line, change what is not so, then name the data at the end.

[policy]
unit = "example"            # whose presence is hidden: one "example" (a record), or the whole "owner"
relation = "add-remove"     # two data sets are neighbours where one record was added or removed
observer = "server"         # whom the budget is for; "analyst" would trust the coordinator with every single message
colluders = 0               # other owners that may help the observer
smallest_cohort = 4         # fewest contributions that one readable sum may hold
epsilon = 4.0               # largest privacy loss of one asset over its whole life, not of one run
delta = 1e-4                # far below one over the number of records
approve_first = true        # a person decides on every run: tacit client approve
# noise_multiplier = 5.0    # least noise over the sensitivity
# measure = true            # tell how good each model is on this data: noised numbers inside the update
# hours = ["Mon-Fri 18:00-24:00"]    # local time
# concurrency = 1           # most runs at once

# What the data may be used for, with exactly these options. Code of your own needs the digest of its file: sha256 = "…".
[[policy.tasks]]
use = "breast-cancer"
options = { model = "logistic" }

# Where it is noted how far the ledgers came, so that an older copy of one is refused: best a folder on another volume.
#[ledger]
#anchor = "/other/volume/tacit"

# The data: take away the three #, and give the file. Relative paths begin in this folder.
#[assets.ward3]
#task = "breast-cancer"
#source = "csv:ward3.csv"
"""


def write_starter(home: ClientHome) -> bool:
    """Write the starter as `agent.toml` of `home`; False where there is one, which is left as it is. Raises `OSError`."""
    try:
        keyfile.create(home.settings_file, TEXT.encode())
    except FileExistsError:
        return False
    return True
