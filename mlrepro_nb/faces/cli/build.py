"""``mlrepro build``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from mlrepro_nb import image
from mlrepro_nb.errors import UsageError
from mlrepro_nb.faces.cli._console import print_json, progress
from mlrepro_nb.model import Image, short


@click.command(name="build")
@click.argument("target", metavar="NOTEBOOK|RECORD")
@click.option(
    "--kind",
    type=click.Choice(["job", "service"]),
    default="job",
    show_default=True,
    help="Run the notebook again and end by the verdict, or serve the logged model.",
)
@click.option("-R", "--repository", metavar="NAME", help="REGISTRY/NAME, without a tag.")
@click.option(
    "--builder",
    type=click.Choice(["auto", "docker", "oci"]),
    default="auto",
    show_default=True,
    help="The Docker Engine's; or oci, which needs none and gives the same digest everywhere; "
    "auto: the engine's, if one answers.",
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
@click.option("--bake-data", is_flag=True, help="Copy all data into the image, however large.")
@click.option(
    "--ca-bundle",
    type=click.Path(),
    metavar="FILE",
    help="PEM certificates for downloads during the build; they enter no layer.",
)
@click.option(
    "--test/--no-test",
    default=False,
    help="Run the job without a network before it is tagged and pushed.",
)
@click.option(
    "--bytecode/--no-bytecode",
    default=True,
    help="Ship the packages compiled, which starts faster. Needs the record's very Python here "
    "when building without an engine.",
)
@click.option("--load", is_flag=True, help="Have the engine load what --builder oci made.")
@click.option(
    "--check",
    is_flag=True,
    help="Build it without an engine, twice, the second time from nothing, and compare.",
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
    target: str, kind: str, repository: str | None, builder: str, push: bool,
    base: str | None, version_: str | None, build_id: str | None, model: str | None,
    allow_dirty: bool, bake_data: bool, ca_bundle: str | None, test: bool, bytecode: bool,
    load: bool, check: bool, dry_run: bool,
    output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Turn a recorded notebook into a container image."""
    options = {
        "kind": kind, "repository": repository, "base": base, "version": version_,
        "build_id": build_id, "model": model, "allow_dirty": allow_dirty, "bake_data": bake_data,
        "bytecode": bytecode,
    }  # fmt: skip
    if dry_run:
        if push:
            raise UsageError("--dry-run pushes nothing.", "Leave out one of --dry-run and --push.")
        with progress() as report:
            texts = image.texts(image.plan(target, **options, report=report))  # type: ignore[arg-type]
        _show(texts, output, as_json=as_json)
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
            load=load, output=output, report=report,
        )  # fmt: skip
    if as_json:
        print_json({"image": digest, **msgspec.to_builtins(built)})
    else:
        _tell(digest, built, output)


def _show(texts: dict[str, str], output: Path | None, *, as_json: bool) -> None:
    for kind in ("problems", "notes"):
        for line in texts.get(kind, "").splitlines():
            click.secho(f"! {line}", fg="yellow" if kind == "problems" else None, err=True)
    if output is not None:
        image.write_texts(texts, output)
        click.echo(f"wrote {output}/{{{','.join(texts)}}}", err=True)
    if as_json:
        print_json(texts)
    elif output is None:
        for name in ("Containerfile", ".dockerignore", "requirements.txt"):
            click.secho(f"# ── {name}", bold=True)
            click.echo(texts[name])


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
    click.echo(f"record   {short(built.record)}   document {short(digest)}")
    if sys.stdout.isatty() and (built.builder == "docker" or built.digest):
        click.echo("")
        name = f"{built.repository}:{built.tags[0]}"
        run = f"{name}" if built.image_kind == "job" else f"-p 8080:8080 {name}"
        click.echo(f"docker run --rm {run}")
