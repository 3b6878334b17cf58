"""Options: a name from a table, or the names that there are."""

from __future__ import annotations

import pytest
from tacit.tasks.options import chosen
from tacit.tasks.task import TaskError


def test_a_name_is_looked_up_or_refused() -> None:
    assert chosen("digits", "model", "b", {"a": 1, "b": 2}) == 2
    with pytest.raises(TaskError, match="task digits: model = 'c' is unknown; give one of a, b"):
        chosen("digits", "model", "c", {"a": 1, "b": 2})
