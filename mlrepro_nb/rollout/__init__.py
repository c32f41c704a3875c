"""Roll out an image to Kubernetes.

`plan` decides everything about a rollout and says where each value comes from;
`manifests` and `to_yaml` render it. These are pure. `rollout` finds the image,
applies what was rendered, and waits.
"""

from mlrepro_nb.rollout._image import Subject, subject
from mlrepro_nb.rollout._manifests import manifests
from mlrepro_nb.rollout._names import label_value, workload_name
from mlrepro_nb.rollout._plan import Options, Plan, SecretRef, plan
from mlrepro_nb.rollout._preview import preview
from mlrepro_nb.rollout._resources import Resources, resources
from mlrepro_nb.rollout._rollout import remedy, rollout
from mlrepro_nb.rollout._yaml import to_yaml

__all__ = [
    "Options",
    "Plan",
    "Resources",
    "SecretRef",
    "Subject",
    "label_value",
    "manifests",
    "plan",
    "preview",
    "remedy",
    "resources",
    "rollout",
    "subject",
    "to_yaml",
    "workload_name",
]
