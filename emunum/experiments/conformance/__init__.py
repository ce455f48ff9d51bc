"""emunum beside other implementations of the same arithmetic: what agrees, what does not, and why."""
