"""One file a command of the synalign program."""

from . import align, completion, demo, embed, evaluate, explore, ledger, preview, report, run

COMMANDS = (demo, preview, run, explore, align, embed, evaluate, report, ledger, completion)
