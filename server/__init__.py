"""The coordinator of rounds and its daemon."""
