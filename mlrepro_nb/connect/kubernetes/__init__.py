"""The one door to Kubernetes: apply manifests, watch a rollout, read what runs.

Server-side apply as the field manager ``mlrepro``, after a dry run on the
server, so that a refused manifest leaves nothing behind. Only the contexts of a
kubeconfig can be read without the ``kubernetes`` client (extra ``[kubernetes]``).
"""

from mlrepro_nb.connect.kubernetes._apply import Applied, apply
from mlrepro_nb.connect.kubernetes._cluster import MANAGER, Cluster, RefusedError, resource_path
from mlrepro_nb.connect.kubernetes._config import Context, current_context
from mlrepro_nb.connect.kubernetes._pods import Trouble, troubles
from mlrepro_nb.connect.kubernetes._read import parse_kind, read
from mlrepro_nb.connect.kubernetes._wait import Outcome, wait

__all__ = [
    "MANAGER",
    "Applied",
    "Cluster",
    "Context",
    "Outcome",
    "RefusedError",
    "Trouble",
    "apply",
    "current_context",
    "parse_kind",
    "read",
    "resource_path",
    "troubles",
    "wait",
]
