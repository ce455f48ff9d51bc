"""The numbers published elsewhere, installed so that `emunum reproduce` can set ours beside them."""
