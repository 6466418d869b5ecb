"""Runs, one or many: their outcomes, small failures, tables."""
