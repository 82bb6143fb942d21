"""Runs the command line: ``python -m zapeval``."""

from zapeval.cli.app import main

main()
