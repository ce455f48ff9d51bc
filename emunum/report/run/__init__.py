"""One run: what its directory says, figures and a summary of it."""
