"""The worker and agent at a data owner."""
