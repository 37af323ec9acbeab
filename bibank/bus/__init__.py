"""The bus: delivery of what was committed, behind the commit. It holds no history.

`bus.py` is the face; `mailbox.py` decides what a subscriber is told next; `deliveries.py` and `tasks.py` tell
it; `ring.py` is the buffer; `beginning.py`, `saving.py` and `cursor_files.py` keep cursors.
"""

from __future__ import annotations
