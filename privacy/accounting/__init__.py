"""Accounting: the guard over dp-accounting, calibration, filters, audit statistics."""
