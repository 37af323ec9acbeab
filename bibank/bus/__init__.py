"""The bus: delivery of what was committed, behind the commit. It holds no history.

`bus.py` is the face; `mailbox.py` decides what a subscriber is told next; `deliveries.py` and `tasks.py` tell
it; `ring.py` is the buffer; `cursor_files.py` keeps cursors in a home.
"""

from __future__ import annotations
