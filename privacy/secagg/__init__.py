"""Secure aggregation: sans-I/O state machines over bytes and NumPy buffers."""
