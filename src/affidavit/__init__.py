"""The audit trail for LLM applications that holds up when somebody attacks it.

Importing this package imports nothing else: not one module of ours, and none of anybody's. What a program uses it
names, `from affidavit.ledger.reader import ...`, so that an auditor's tool never loads a server.
The version has its only home here; the build reads it from this file.
"""

__version__ = "0.1.0"
