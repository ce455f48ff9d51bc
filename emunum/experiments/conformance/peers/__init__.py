"""One module a peer: what it can compute, how to ask it, and where it is known to differ.

`comparisons()` imports the peer and yields what is compared with it. Nothing is imported before.
"""
