"""One file a command of the synalign program."""

from . import align, completion, demo, embed, evaluate, explore, ledger, report, run

COMMANDS = (demo, run, explore, align, embed, evaluate, report, ledger, completion)
