"""Array kernels behind plain numbers: contract.py lowers casts, each backend module computes."""
