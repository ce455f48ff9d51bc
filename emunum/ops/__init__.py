"""Array functions by name, policies, and the arithmetic a network sees."""
