"""Ledgers: what was charged, and the proof of it."""
