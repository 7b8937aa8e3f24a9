"""`python -m affidavit.cli`: the command line without its script."""

from affidavit.cli import main

main()
