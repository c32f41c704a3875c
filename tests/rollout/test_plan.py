"""A plan decides everything, explains it, and refuses what cannot be meant."""

import pytest

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import DataAccess, Record, Results
from mlrepro_nb.rollout import Options, Plan, Subject, manifests, plan, to_yaml
from tests.records import a_record

IMAGE = f"registry.example.com/team/tour@sha256:{'a' * 64}"
RECORD = f"sha256:{'b' * 64}"
SUBJECT = Subject(reference=IMAGE, kind="service", record=RECORD, notebook="train.ipynb")


def planned(record: Record | None = None, **options: object) -> Plan:
    return plan(SUBJECT, record or a_record(), Options(**options))  # type: ignore[arg-type]


def test_every_inferred_value_says_where_it_comes_from() -> None:
    for what in ("image", "kind", "name", "namespace", "memory", "cpu", "gpus", "storage"):
        assert "confidence" in planned().source[what]


def test_the_kind_follows_the_image() -> None:
    unknown = Subject(reference=IMAGE)
    assert plan(SUBJECT, None).workload == "Deployment"
    assert plan(Subject(reference=IMAGE, kind="job"), None).workload == "Job"
    assert plan(unknown, a_record()).workload == "Deployment"
    assert plan(unknown, a_record(results=Results())).workload == "Job"
    assert plan(unknown, None, Options(kind="job")).workload == "Job"


def test_an_image_of_which_nothing_is_known_needs_a_kind() -> None:
    with pytest.raises(UsageError, match="Nothing is known"):
        plan(Subject(reference=IMAGE), None)


def test_a_job_image_is_no_service() -> None:
    with pytest.raises(UsageError, match="is a service image, not a job"):
        planned(kind="job")


def test_a_job_and_a_service_of_one_notebook_have_two_names() -> None:
    job = plan(Subject(reference=IMAGE, kind="job", notebook="train.ipynb"), None)
    assert (planned().name, job.name) == ("train", "train-job")


def test_data_that_no_pod_can_fetch_needs_a_claim() -> None:
    job = Subject(reference=IMAGE, kind="job", fetches=9, mounts="a.csv, b.csv")
    with pytest.raises(UsageError, match=r"does not hold a\.csv, b\.csv") as caught:
        plan(job, None)
    assert "--data-claim" in caught.value.remedy
    found = plan(job, None, Options(data_claim="data")).data
    assert found is not None
    assert found.claim == "data"


@pytest.mark.parametrize(
    ("options", "namespace"),
    [
        ({}, "mlrepro"),
        ({"context_namespace": "team"}, "team"),
        ({"context_namespace": "default"}, "mlrepro"),
        ({"context_namespace": "team", "namespace": "other"}, "other"),
        ({"namespace": "default"}, "default"),
    ],
)
def test_default_is_only_used_when_said(options: dict[str, str], namespace: str) -> None:
    assert planned(**options).namespace == namespace


SECRETS = [
    ("DB_PASSWORD", "hunter2hunter2"),
    ("AWS_SECRET_ACCESS_KEY", "abcdefgh"),
    ("API_KEY", "abcdefgh"),
    ("URL", "https://me:hunter2hunter2@db.example.com/x"),
    ("THING", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_a_secret_is_refused_without_showing_it(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(env={name: value})
    assert name in str(caught.value)
    assert "--secret" in caught.value.remedy
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKENIZERS_PARALLELISM", "false"), ("MAX_TOKENS", "512"), ("LEVEL", "debug"), ("E", "")],
)
def test_what_only_sounds_secret_is_not(name: str, value: str) -> None:
    assert planned(env={name: value}).env[name] == value


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A B", "É"])
def test_what_is_no_variable_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="environment variable"):
        planned(env={name: "x"})


def test_a_secret_is_only_named() -> None:
    found = planned(secrets=("all", "db:PASSWORD", "TOKEN=hub:api-token"))
    assert [(s.name, s.key, s.variable) for s in found.secrets] == [
        ("all", None, None), ("db", "PASSWORD", "PASSWORD"), ("hub", "api-token", "TOKEN"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", ":K", "db:", "db:api-key", "A=db", "A=B=c:d", "Db", "db:k:l", "K=hunter2!:x"]
)
def test_what_does_not_name_a_secret_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--secret"):
        planned(secrets=(text,))


@pytest.mark.parametrize(
    "options",
    [
        {"replicas": 0},
        {"cpu": "2", "cpu_limit": "1"},
        {"name": "Not A Name"},
        {"namespace": "Not A Name"},
        {"allow_from": ("Not A Name",)},
        {"pull_secret": "Not A Name"},
        {"env": {"PASSWORD_FILE": "x"}, "secrets": ("PASSWORD_FILE=a:b",)},
        {"env": {"A": "\0"}},
    ],
)
def test_what_no_cluster_takes_is_refused_before_it_is_asked(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        planned(**options)


def test_a_job_has_one_replica() -> None:
    with pytest.raises(UsageError, match="Job"):
        plan(Subject(reference=IMAGE, kind="job"), None, Options(replicas=2))


def test_only_a_job_whose_run_went_out_may_go_out() -> None:
    remote = a_record(data=(DataAccess(path="s3://bucket/x.csv", access="read"),))
    job = Subject(reference=IMAGE, kind="job", record=RECORD)
    assert plan(job, remote).egress
    assert not plan(job, a_record()).egress
    assert not plan(SUBJECT, remote).egress
    assert plan(SUBJECT, remote, Options(allow_egress=True)).egress


def test_a_credential_in_a_remote_path_is_not_told() -> None:
    remote = a_record(
        data=(DataAccess(path="https://me:hunter2hunter2@x.example.com/a", access="read"),)
    )
    job = Subject(reference=IMAGE, kind="job", record=RECORD)
    assert "hunter2" not in to_yaml(manifests(plan(job, remote)))
