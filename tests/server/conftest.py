"""The cohort that masks, as the owners' own tests have it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("masking_cohort", Path(__file__).parents[1] / "client" / "conftest.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_COHORT = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _COHORT  # its dataclasses look themselves up
_SPEC.loader.exec_module(_COHORT)

masking, masked_request = _COHORT.masking, _COHORT.masked_request
