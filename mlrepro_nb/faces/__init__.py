"""Thin faces over the verbs: each parses, delegates, shows."""
