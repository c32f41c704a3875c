"""Measurements side by side with peers, in one run: ratios, since machines are noisy."""
