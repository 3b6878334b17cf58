"""What the tests of privacy share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tacit.privacy import compiled


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """With compiled loops from the first number on, and without any."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled":
            assert compiled.loops() is not None
        else:
            patch.setattr(compiled, "loops", lambda: None)
        yield
