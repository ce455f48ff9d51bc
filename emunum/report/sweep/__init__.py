"""Many runs: groups over seeds, their tables and figures, and one page of it all."""
