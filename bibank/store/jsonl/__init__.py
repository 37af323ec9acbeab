"""The journal as daily JSON Lines files: `YYYY-MM-DD.jsonl`, the only source of truth of a home."""
