"""Layers, losses, optimizers and initial values: frozen descriptions over plain dicts of arrays."""
