"""Frames of the configuration file."""
