"""One run from first weights to last: its state, its steps, what it counts, what a checkpoint keeps."""
