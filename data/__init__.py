"""Small embedded data sets, installed with the package; README.md documents each."""
