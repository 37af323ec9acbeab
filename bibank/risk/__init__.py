"""The risk engine: a fail-closed gate before every append (phase 1, 5.3)."""
