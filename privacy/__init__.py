"""Privacy on flat vectors: signals, pipelines, claims, accounting, ledgers. Knows no Flower."""
