"""The paper: a study's tables and figures from its records, and the document they stand in."""
