"""A look at the machine, the disks, the clock, the keys and what lies about: `affidavit doctor`.

Promise: each check says what it saw, what that does not prove, and what to do next; one that could not look says NOT
ASSESSED and never OK. Nothing is changed but one probe file that has no name any more while it is written. It works
with the service running or not, needs no key's content and prints none.

Each module looks at one thing: a function that observes gives a value, a function that judges turns it into a `Check`,
so that each condition can be made in a test. `examination` runs all of them.
"""
