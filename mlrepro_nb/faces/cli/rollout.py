"""``mlrepro rollout``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlrepro_nb.errors import StoreError, UsageError
from mlrepro_nb.faces.cli._console import explain, print_json, progress


def _variables(ctx: click.Context, parameter: click.Parameter, value: Any) -> dict[str, str]:
    found = {}
    for text in value:
        name, equals, content = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{name!r} has no value: write NAME=VALUE.", ctx, parameter)
        found[name] = content
    return found


@click.command("rollout")
@click.argument("image")
@click.option("--kind", type=click.Choice(["service", "job"]), help="Where the image has no label.")
@click.option("--name", help="Of the workload.  [default: the notebook's]")
@click.option("-n", "--namespace", help="[default: the kubeconfig context's, else mlrepro]")
@click.option("--create-namespace", is_flag=True, help="Make the namespace as well.")
@click.option("--replicas", type=int, default=1, show_default=True)
@click.option("--memory", help="Request and limit: 2Gi.  [default: from the recorded run]")
@click.option("--cpu", help="Request: 500m.  [default: from the recorded run]")
@click.option("--cpu-limit", help="[default: none]")
@click.option("--gpus", type=int, help="[default: from the recorded run]")
@click.option("--env", multiple=True, metavar="NAME=VALUE", callback=_variables)
@click.option(
    "--secret", "secrets", multiple=True, metavar="NAME[:KEY]",
    help="A Secret as variables, or one key of it ([VARIABLE=]NAME:KEY).",
)  # fmt: skip
@click.option(
    "--data-secret", "data_secrets", multiple=True, metavar="NAME[:KEY]",
    help="As --secret, for the init step alone that fetches the data.",
)  # fmt: skip
@click.option(
    "--data-claim", metavar="NAME",
    help="A PersistentVolumeClaim that has the data, or gets it.  [default: fetched for each pod]",
)  # fmt: skip
@click.option("--pull-secret", help="A Secret to pull the image with.")
@click.option(
    "--allow-from", multiple=True, metavar="NAMESPACE", help="Whose pods may call the service."
)
@click.option("--allow-egress", is_flag=True, help="Let its pods call out.")
@click.option("--apply", is_flag=True, help="Apply the manifests and wait for the rollout.")
@click.option("--dry-run", is_flag=True, help="Let the cluster check them; keep nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields of other managers.")
@click.option("--context", help="Of the kubeconfig.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds to wait.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the YAML to a file or a folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(image: str, output: Path | None, as_json: bool, **options: Any) -> None:
    """Render the Kubernetes manifests of IMAGE, and apply them if told.

    IMAGE is a reference by tag or digest, the digest of an image or record, or
    a notebook, whose newest image is meant. It is always deployed by digest.

    \b
    mlrepro rollout registry/tour:1.2.0                  the YAML on standard output
    mlrepro rollout registry/tour:1.2.0 -o manifests/    a file a manifest
    mlrepro rollout train.ipynb --apply                  to the current context, and wait

    Exit codes: 0 complete, 1 it did not roll out, 2 usage, 3 something outside failed.
    """
    from mlrepro_nb.errors import MlreproError
    from mlrepro_nb.rollout import remedy, rollout

    # What will be asked for in vain at the end is refused at the start.
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent}.", "Make it first.")
    with progress() as report:
        digest, document, text = rollout(image, report=report, **options)
    if output is not None:
        _write(output, text)
    if as_json:
        print_json({"digest": digest, "rollout": document, "manifests": text})
    elif output is None and not options["apply"]:
        click.echo(text, nl=False)
    elif document.status == "complete":
        revision = f", revision {document.revision}" if document.revision else ""
        click.echo(
            f"{document.workload} {document.name} in namespace {document.namespace} "
            f"is complete{revision}: {document.image}"
        )
    if document.status == "failed":
        explain(MlreproError(document.reason or "It did not roll out.", remedy(document)))
        click.get_current_context().exit(1)


def _write(output: Path, text: str) -> None:
    """Write one file; or into a folder, one a manifest, in the order to apply them."""
    import yaml

    if not (output.is_dir() or output.suffix == ""):
        _replace(output, text)
        return
    output.mkdir(exist_ok=True)
    for number, part in enumerate(text.split("\n---\n")):
        manifest = yaml.safe_load(part)
        _replace(output / f"{number}-{manifest['kind'].lower()}.yaml", part.rstrip("\n") + "\n")


def _replace(path: Path, text: str) -> None:
    from mlrepro_nb.store import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.", "Choose another."
        ) from error
