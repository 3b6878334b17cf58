"""Source: text and value are each other's inverse; a bad text is refused in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.examples import DataError
from tacit.tasks.partition import IID, Bootstrap, Dirichlet, Natural, Partition, QuantitySkew, Shards
from tacit.tasks.source import File, Population, parse_source

PARTITIONS: list[Partition | None] = [
    None,
    IID(),
    Dirichlet(0.3, 2),
    Shards(3),
    QuantitySkew(1e-7),
    Natural(),
    Bootstrap(4),
]


@given(
    owner=st.integers(0, 999),
    more=st.integers(1, 999),
    seed=st.integers(-(2**70), 2**70),
    partition=st.sampled_from(PARTITIONS),
)
def test_a_population_reads_back_what_it_writes(owner: int, more: int, seed: int, partition: Partition | None) -> None:
    source = Population(owner, owner + more, seed, partition)
    assert parse_source(str(source)) == source


@pytest.mark.parametrize("path", ["/data/ward3.csv", "relative/a b.csv", "C:/x.csv", "/with?mark.csv"])
def test_a_file_reads_back_what_it_writes(path: str) -> None:
    source = parse_source(f"csv:{path}")
    assert source == File("csv", Path(path))
    assert parse_source(str(source)) == source


def test_what_is_left_out_is_the_tasks_own() -> None:
    assert parse_source("population:3/10") == Population(3, 10, 0, None)
    assert parse_source("population:3/10?partition=dirichlet&alpha=1") == Population(3, 10, 0, Dirichlet(1))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "give csv:PATH"),
        ("csv:", "give csv:PATH"),
        ("/data/ward3.csv", "give csv:PATH"),
        ("population:3", "give K/N"),
        ("population:-1/4", "give K/N"),
        ("population:٣/4", "give K/N"),
        ("population:10/10", "numbered from 0"),
        ("population:0/0", "at least 1 owner"),
        ("population:1/2?seed", "key=value"),
        ("population:1/2?seed=x", "seed = 'x'"),
        ("population:1/2?seed=1.5", "seed = 1.5"),
        ("population:1/2?seed=true", "seed = 'true'"),
        ("population:1/2?seed=1&seed=2", "given twice"),
        ("population:1/2?speed=1", "unknown key speed; it takes seed, partition"),
        ("population:1/2?alpha=0.3", "unknown key alpha"),
        ("population:1/2?partition=zipf", "'zipf' is unknown; give one of iid, dirichlet"),
        ("population:1/2?partition=dirichlet", "alpha"),
        ("population:1/2?partition=dirichlet&alpha=0", "alpha = 0"),
        ("population:1/2?partition=dirichlet&alpha=NaN", "alpha"),
        ("population:1/2?partition=dirichlet&alpha=much", "alpha = 'much'"),
        ("population:1/2?partition=iid&alpha=1", "unknown key alpha"),
    ],
)
def test_a_bad_source_is_refused_with_the_remedy(text: str, complaint: str) -> None:
    with pytest.raises(DataError) as refusal:
        parse_source(text)
    assert complaint in str(refusal.value)
