"""Array kernels behind plain numbers: contract/ lowers casts, each backend module computes."""
