"""What a process tree and the GPUs are using, read from outside of the process that is measured.

Imports nothing but the standard library, so that a bare interpreter can run it as a
process of its own: see `process`.
"""
