"""The nouns: frozen values, their canonical JSON and digest. No I/O.

Everything that the verbs hand to each other is a value of this module. A
document (`Record`, `Verification`, `Image`, `Rollout`) has one canonical form
(RFC 8785) and one digest, ``sha256:`` over that form; the digest is its name in
the store, on the image's labels and in the Deployment's annotations.

Conventions: times are RFC 3339 in UTC with a ``Z``; durations are seconds; sizes
are bytes; file identities are ``blake3:<hex>``, everything else ``sha256:<hex>``;
``cell`` and ``index`` count all cells of the notebook file from 0, and are None
where a live kernel ran code that the file does not hold (any more).
"""

from mlrepro_nb.model._canonical import (
    canonical,
    digest,
    digest_bytes,
    digest_text,
    plain,
    revived,
    short,
)
from mlrepro_nb.model._code import (
    Code,
    Effects,
    ExecutedCell,
    LocalModule,
    ModuleVersion,
    OutsideChange,
    WidgetMove,
)
from mlrepro_nb.model._data import (
    DataAccess,
    DataVersion,
    DvcPointer,
)
from mlrepro_nb.model._documents import (
    CAUSES,
    DOCUMENTS,
    REPRODUCED,
    SCHEMA_VERSION,
    Cause,
    CellVerdict,
    D,
    Document,
    Gate,
    Image,
    MetricVerdict,
    Record,
    Rollout,
    Sampled,
    Trial,
    Verdict,
    Verification,
    decode,
)
from mlrepro_nb.model._environment import (
    CondaPackage,
    Cuda,
    Distribution,
    EditedFile,
    Environment,
    Kernelspec,
    SharedLibrary,
    Startup,
    System,
    ThreadPool,
)
from mlrepro_nb.model._hardware import (
    CellPeak,
    Confidence,
    Figure,
    Gpu,
    GpuUse,
    Hardware,
    Peak,
)
from mlrepro_nb.model._lineage import (
    MlflowDataset,
    MlflowRun,
    Origin,
)
from mlrepro_nb.model._progress import (
    Report,
    Step,
    silent,
)
from mlrepro_nb.model._randomness import (
    Entropy,
    GeneratorUse,
    Randomness,
    Seed,
)
from mlrepro_nb.model._results import (
    Artifact,
    CellOutput,
    Expectation,
    Model,
    Operator,
    Parameters,
    Results,
)
from mlrepro_nb.model._time import moment, timestamp

__all__ = [
    "CAUSES",
    "DOCUMENTS",
    "REPRODUCED",
    "SCHEMA_VERSION",
    "Artifact",
    "Cause",
    "CellOutput",
    "CellPeak",
    "CellVerdict",
    "Code",
    "CondaPackage",
    "Confidence",
    "Cuda",
    "D",
    "DataAccess",
    "DataVersion",
    "Distribution",
    "Document",
    "DvcPointer",
    "EditedFile",
    "Effects",
    "Entropy",
    "Environment",
    "ExecutedCell",
    "Expectation",
    "Figure",
    "Gate",
    "GeneratorUse",
    "Gpu",
    "GpuUse",
    "Hardware",
    "Image",
    "Kernelspec",
    "LocalModule",
    "MetricVerdict",
    "MlflowDataset",
    "MlflowRun",
    "Model",
    "ModuleVersion",
    "Operator",
    "Origin",
    "OutsideChange",
    "Parameters",
    "Peak",
    "Randomness",
    "Record",
    "Report",
    "Results",
    "Rollout",
    "Sampled",
    "Seed",
    "SharedLibrary",
    "Startup",
    "Step",
    "System",
    "ThreadPool",
    "Trial",
    "Verdict",
    "Verification",
    "WidgetMove",
    "canonical",
    "decode",
    "digest",
    "digest_bytes",
    "digest_text",
    "moment",
    "plain",
    "revived",
    "short",
    "silent",
    "timestamp",
]
