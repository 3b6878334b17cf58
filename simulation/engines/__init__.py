"""Engines: how the local work of many owners is done at once, by the fastest route that a model and solver allow."""
