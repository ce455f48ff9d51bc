"""Tables and figures from records; nothing here starts a run."""
