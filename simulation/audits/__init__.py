"""Audits: canaries that take part by the toss of a coin, and what an observer finds out about the coins."""
