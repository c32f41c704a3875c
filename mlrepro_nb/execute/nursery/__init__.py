"""Where kernels are born, kept and buried: processes that may run in another interpreter than ours.

This package is loaded by its folder's path: only the standard library is imported here, and
nothing that Python 3.8 lacks. A *nursery* has imported what every kernel imports. Of it a
*keeper* is forked for each kernel, and of the keeper the kernel itself, which so starts at
once, and runs one notebook. All that the kernel starts stays below its keeper, even what
would be a daemon: the keeper measures it, ends it at a limit, and leaves nothing behind.
"""
