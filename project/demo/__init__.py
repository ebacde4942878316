"""``make demo``: two linked programs on one machine, running until Ctrl-C."""
