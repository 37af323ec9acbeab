"""Stores: where the lines of a ledger are kept. A store never looks inside a line."""
