"""Rows: reading them, auditing them, splitting them, batching them. Imports nothing of the rest but errors and leaves."""
