"""One file a command of the synalign program."""

from . import demo, evaluate, report, run

COMMANDS = (demo, run, evaluate, report)
