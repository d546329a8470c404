"""One file a command of the synalign program."""

from . import align, demo, embed, evaluate, ledger, report, run

COMMANDS = (demo, run, align, embed, evaluate, report, ledger)
