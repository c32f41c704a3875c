"""``mlrepro build``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from mlrepro_nb import image
from mlrepro_nb.errors import UsageError
from mlrepro_nb.faces.cli._console import print_json, progress
from mlrepro_nb.faces.cli.key import ask
from mlrepro_nb.model import Image, short


@click.command(name="build")
@click.argument("target", metavar="NOTEBOOK|RECORD")
@click.option(
    "--kind",
    type=click.Choice(["job", "service", "notebook"]),
    help="Run the notebook again and end by the verdict (the default); serve the logged model; or "
    "open the notebook in JupyterLab for a reviewer.",
)
@click.option("-R", "--repository", metavar="NAME", help="REGISTRY/NAME, without a tag.")
@click.option(
    "--builder",
    type=click.Choice(["auto", "docker", "oci"]),
    default="auto",
    show_default=True,
    help="That of BUILDKIT_HOST, docker buildx, the Docker Engine or podman, the first that is "
    "there; or oci, which needs none and gives the same digest everywhere; auto: docker, if it "
    "answers.",
)
@click.option("--push", is_flag=True, help="Push to the registry under all tags.")
@click.option(
    "--base",
    metavar="IMAGE",
    help="Base image, or oci:PATH of an OCI layout; default: the official slim one of the "
    "kernel's Python, by digest.",
)
@click.option(
    "--version",
    "version_",
    metavar="VERSION",
    help="Default: that of pyproject.toml, or the last git tag.",
)
@click.option("--build-id", metavar="ID", help="Default: the CI's, else time and record.")
@click.option("--model", metavar="NAME", help="The model to serve, where there are several.")
@click.option("--allow-dirty", is_flag=True, help="Build what is in no commit, marked as such.")
@click.option(
    "--bake-data",
    is_flag=True,
    help="Copy the data into the image that git does not track, too, however large. Else a "
    "container fetches it from where DVC has it, or finds it mounted at /data.",
)
@click.option(
    "--ca-bundle",
    type=click.Path(),
    metavar="FILE",
    help="PEM certificates for downloads during the build; they enter no layer.",
)
@click.option(
    "--test/--no-test",
    default=None,
    help="Run it without a network before it is tagged and pushed: a job has to reproduce, a "
    "service to predict what was recorded. Default: a service that is pushed.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="CONDITION",
    help="Refuse a run whose metric does not meet it: 'accuracy >= 0.93'. Besides those in "
    "[tool.mlrepro.gates] of pyproject.toml.",
)
@click.option(
    "--bytecode/--no-bytecode",
    default=None,
    help="Ship the packages compiled, which starts faster. Needs the record's very Python here "
    "when building without an engine.",
)
@click.option(
    "--attest/--no-attest",
    default=True,
    help="Attach bill of materials and provenance to what is pushed or written as a layout.",
)
@click.option(
    "--sign",
    metavar="KEY|keyless",
    help="Sign them: a private key's file (mlrepro key new), or keyless in CI. Default: sign in "
    "[tool.mlrepro], else nobody signs.",
)
@click.option(
    "--audit",
    is_flag=False,
    flag_value="warn",
    type=click.Choice(["off", "warn", "fail"]),
    help="Ask pip-audit for known vulnerabilities of the lock; fail refuses such an image.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting instead of that in [tool.mlrepro] of pyproject.toml: packages=libsndfile1, "
    "exclude=torch, variables.OMP_NUM_THREADS=2, user=12345, platform=linux/arm64…",
)
@click.option("--load", is_flag=True, help="Have the engine load what --builder oci made.")
@click.option(
    "--check",
    is_flag=True,
    help="Build it twice, the second time from nothing, and compare: without an engine, or "
    "with --builder docker by BuildKit.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be built, and build nothing.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="--builder oci: write the image, as one file (FILE.tar) or as a folder in OCI layout. "
    "Else: keep the build context (with --dry-run: its texts) in a new folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    target: str, kind: str | None, repository: str | None, builder: str, push: bool,
    base: str | None, version_: str | None, build_id: str | None, model: str | None,
    allow_dirty: bool, bake_data: bool, ca_bundle: str | None, test: bool | None,
    bytecode: bool | None, load: bool, check: bool, dry_run: bool, gates: tuple[str, ...],
    changes: tuple[str, ...],
    output: Path | None, as_json: bool, attest: bool, sign: str | None, audit: str | None,
) -> None:  # fmt: skip
    """Turn a recorded notebook into a container image."""
    options = {
        "kind": kind, "repository": repository, "base": base, "version": version_,
        "build_id": build_id, "model": model, "allow_dirty": allow_dirty, "bake_data": bake_data,
        "bytecode": bytecode, "gates": gates, "changes": changes,
    }  # fmt: skip
    if dry_run:
        if push:
            raise UsageError("--dry-run pushes nothing.", "Leave out one of --dry-run and --push.")
        with progress() as report:
            planned = image.plan(target, **options, report=report)  # type: ignore[arg-type]
            texts = image.texts(planned)
        _show(texts, image.origins(planned), output, as_json=as_json)
        return
    if check:
        if push or load or output or test:
            raise UsageError(
                "--check builds and compares; it keeps nothing.",
                "Leave out --push, --load, --output and --test.",
            )
        with progress() as report:
            rebuilt = image.check(
                target, builder=builder, ca_bundle=ca_bundle, report=report,
                **options,  # type: ignore[arg-type]
            )  # fmt: skip
        _tell_rebuilt(rebuilt, as_json=as_json)
        sys.exit(0 if rebuilt.same else 1)
    with progress() as report:
        digest, built = image.build(
            target, **options, builder=builder, push=push, ca_bundle=ca_bundle, test=test,  # type: ignore[arg-type]
            load=load, output=output, attest=attest, sign=sign, audit=audit,
            ask=lambda: ask(sign or "that [tool.mlrepro] names"), report=report,
        )  # fmt: skip
    if as_json:
        print_json({"image": digest, **msgspec.to_builtins(built)})
    else:
        _tell(digest, built, output)


def _show(
    texts: dict[str, str], origins: tuple[tuple[str, str, str], ...], output: Path | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    for kind in ("problems", "notes"):
        for line in texts.get(kind, "").splitlines():
            click.secho(f"! {line}", fg="yellow" if kind == "problems" else None, err=True)
    if output is not None:
        image.write_texts(texts, output)
        click.echo(f"wrote {output}/{{{','.join(texts)}}}", err=True)
    if as_json:
        plan = {name: {"value": value, "origin": origin} for name, value, origin in origins}
        print_json({**texts, "plan": plan})
    elif output is None:
        width = max(len(name) for name, _, _ in origins)
        for name, value, origin in origins:
            click.echo(f"{name:{width}}  {_cut(value)}  " + click.style(f"({origin})", dim=True))
        click.echo("")
        shown = ("Containerfile", ".dockerignore", "packages.txt", "requirements.txt", "sbom.json")
        for name in shown:
            if name in texts:
                click.secho(f"# ── {name}", bold=True)
                click.echo(texts[name])


def _cut(text: str, most: int = 90) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _tell_rebuilt(rebuilt: image.Rebuilt, *, as_json: bool) -> None:
    if as_json:
        print_json(rebuilt)
        return
    click.echo(f"built    {rebuilt.manifest}")
    click.echo(f"again    {rebuilt.again}")
    if rebuilt.before:
        click.echo(f"before   {rebuilt.before}")
    if rebuilt.same:
        click.secho("the same, byte for byte", fg="green")
    else:
        click.secho(f"different: {rebuilt.difference}", fg="red")


def _tell(digest: str, built: Image, output: Path | None) -> None:
    click.echo(f"image    {short(built.id)}  {built.image_kind} of {built.notebook}")
    for tag in built.tags:
        click.echo(f"tag      {built.repository}:{tag}")
    if built.digest:
        click.echo(f"digest   {built.repository}@{built.digest}")
    elif built.manifest:
        click.echo(f"digest   {built.manifest}, not pushed")
    if built.builder == "oci" and output:
        click.echo(f"written  {output}")
    for gate in built.gates:
        limit = f"{gate.operator} {gate.limit:g}"
        click.echo(f"gate     {gate.metric} {limit}, it is {gate.value:g}")
    if built.tests:
        click.echo(f"tested   {', '.join(built.tests)}")
    if built.referrers:
        click.echo(f"attached bill of materials, provenance; signed by {built.signed or 'nobody'}")
    click.echo(f"record   {short(built.record)}   document {short(digest)}")
    if sys.stdout.isatty() and (built.builder == "docker" or built.digest):
        click.echo("")
        name = f"{built.repository}:{built.tags[0]}"
        ports = {"service": "-p 8080:8080 ", "notebook": "-p 8888:8888 "}
        run = f"{ports.get(built.image_kind, '')}{name}"
        click.echo(f"docker run --rm {run}")
