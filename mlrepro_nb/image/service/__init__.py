"""What runs in a service image: the model that is in it, behind MLflow's scoring protocol.

``/invocations /ping /health /version`` are MLflow's; ``/ready`` says whether the
model has proved itself, ``/info`` which model of which record this is, and
``/metrics`` is Prometheus's. The server listens at once, so that `/ready` can say
what is missing, and takes requests once

1. the model's files are, by digest, those that the run logged,
2. it is loaded,
3. it predicts for the recorded input what it predicted where it was recorded.

Where one of these fails it never gets ready, says why, and ends with 1 after
MLREPRO_FAIL_AFTER seconds. On SIGTERM

1. ``/ready`` turns 503, and answers close their connections,
2. for MLREPRO_DRAIN seconds requests are still taken: whoever sends them learns late,
3. then connections are refused, and requests under way have MLREPRO_GRACE seconds,
4. it ends with 0, or with 1 if a request had to be cut off.

Nothing is imported here: `selftest` and `recording` run where little else is.
"""
