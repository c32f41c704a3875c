"""Files and URLs: who opened them, what they held."""
