"""Company: whom one owner is asked to sum with, whom of them it counts, and how many have to be there at each step.

Against a malicious server a member that the owner's administrator did not approve may be an invention of the server. It takes
part, but as one colluder more: with u of them the owner reckons with C + u colluders, and no floor is reached with their help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import keys
from .errors import RefusalError
from .parameters import Parameters


@dataclass(frozen=True, slots=True)
class Company:
    """The cohort as one owner sees it: every member's Ed25519 key, the members that `counted` towards the floor, C + u."""

    parameters: Parameters
    keys: Mapping[int, bytes]
    counted: frozenset[int]
    colluders: int

    @property
    def quorum(self) -> int:
        """Signatures on one set of survivors with which this owner unmasks, its own among them.

        Malicious: more than (n + C + u)/2. Two such sets share an honest member, and that one signs once.
        """
        parameters = self.parameters
        return (parameters.n + self.colluders) // 2 + 1 if parameters.malicious else parameters.quorum

    def floor(self, what: str, indices: Iterable[int]) -> None:
        """Refuse where fewer members that count are left than the floor."""
        left, least = len(self.counted.intersection(indices)), self.parameters.least
        require(left >= least, "too-few", f"{what}: {left} members that count, and the floor is {least}")

    def reach(self, what: str, near: Iterable[int]) -> None:
        """Refuse where fewer neighbours (this owner with them) hold shares than open a secret: the round could not end."""
        holders, threshold = len(set(near)), self.parameters.threshold
        require(holders >= threshold, "too-few", f"{what}: {holders} hold shares, and {threshold} open a secret")

    def signed(self, index: int, purpose: str, payload: bytes, signature: bytes) -> None:
        """Raise `SignatureError` unless the signature is this member's."""
        keys.verify(self.keys[index], purpose, payload, signature)


def company(
    parameters: Parameters, index: int, own: bytes, cohort: Mapping[int, bytes], approved: frozenset[int]
) -> Company:
    """The company of the owner `index` with the key `own`. Raises `RefusalError` where it is none to sum in."""
    listed, different = len(cohort), len(set(cohort.values()))
    require(listed == parameters.n, "cohort", f"a cohort of {listed} where the parameters are for {parameters.n}")
    require(cohort.get(index) == own, "cohort", f"the cohort does not list owner {index} with its own key")
    require(different == listed, "cohort", f"{listed} members with {different} keys: one key stands for two")
    require(all(0 <= each < 1 << 32 for each in cohort), "cohort", "an index of the cohort is no u32")
    if not parameters.malicious:
        return Company(parameters, dict(cohort), frozenset(cohort), parameters.colluders)
    counted = frozenset(cohort) & (approved | {index})
    strangers = listed - len(counted)
    colluders = parameters.colluders + strangers
    require(
        2 * parameters.threshold > listed + colluders and len(counted) >= parameters.least,
        "approval",
        f"{strangers} of {listed} members are not approved; with them as colluders a threshold of {parameters.threshold} and "
        f"a floor of {parameters.least} do not hold: approve them, or ask for a cohort without them",
    )
    return Company(parameters, dict(cohort), counted, colluders)


def require(condition: bool, code: str, message: str) -> None:
    """Refuse unless `condition` holds."""
    if not condition:
        raise RefusalError(code, message)
