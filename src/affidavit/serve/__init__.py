"""Processes: which there are, in which order they start and stop, and what happens when one of them dies.

`supervisor` starts `python -m affidavit.serve ROLE` for each role of a `plan`; a child learns everything else from its
`assignment` (its standard input) and obeys nothing but its lifeline. `journal` is our own log; `reading` starts a
service without a gateway for the duration of one reading; `doctor` looks at the machine and the directories.
"""
