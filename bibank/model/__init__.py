"""The values of the format: frozen, and impossible to build wrong.

Nothing here does I/O, reads a clock, or knows of files. Every constructor checks what the format
demands (the table "Values" of the reference) and raises a child of `InvalidInput`.
"""
