"""The doctor: what there is to say about a home, looked at without changing it and without its lock.

It looks at what surrounds the journal, at HEAD and at the tail. Verifying the lines is the audit's part.
"""
