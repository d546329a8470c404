"""One file a command of the synalign program."""

from . import align, completion, demo, embed, evaluate, explore, ledger, preview, push, report, run, status

COMMANDS = (demo, preview, run, explore, align, embed, evaluate, report, push, status, ledger, completion)
