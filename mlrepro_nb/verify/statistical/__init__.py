"""Several runs of a notebook with varied seeds: whether a metric is the same within a delta.

`_kernel` varies the seeds inside a kernel, `_seeds` says so to it, `_sample` is one run,
`_reference` what it is held against, `_judge` says what the runs show (pure), `_verify` does
it all. `mlrepro_nb.verify.statistics` has the tests.
"""
