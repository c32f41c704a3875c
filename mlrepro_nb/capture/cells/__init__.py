"""Cells: which notebook they are in, what they say, what they put out."""
