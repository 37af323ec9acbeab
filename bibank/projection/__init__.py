"""Read models: derived from the journal, fast to ask, and disposable. Never on the commit path."""
