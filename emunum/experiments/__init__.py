"""From a configuration to a record: data, training, files."""
