"""Studies: many simulated runs of one federation, and what accuracy each ε buys."""
