"""One file a command of the synalign program."""
