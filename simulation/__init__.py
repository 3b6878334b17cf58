"""Many owners on one machine: engines, populations, reports."""
