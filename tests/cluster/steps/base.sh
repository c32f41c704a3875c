# shellcheck shell=bash
# base: a stand-in for the official python:3.11-slim, from Debian packages, in
# the open registry. The finished image is cached: it keeps its digest.

base_name=library/python

# The mirror this machine's own apt uses; without one, debootstrap knows.
debian_mirror() {
    # shellcheck disable=SC2016  # apt fills it in
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' \
        2>/dev/null | head -n 1
}

# make_base ARCHIVE: 1.5 minutes.
make_base() {
    local root=$state/base/root mirror log=$state/log/debootstrap.log
    mirror=$(debian_mirror)
    rm -rf --one-file-system "$root"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
        bookworm "$root" ${mirror:+"$mirror"} >"$log" 2>&1 ||
        die "base: debootstrap failed; see $log"

    # As in the official image: python and pip at /usr/local/bin, pip free to
    # install beside them, no documentation, no package lists, no bytecode.
    local name
    for name in python python3 python3.11; do ln -s ../../bin/python3.11 "$root/usr/local/bin/$name"; done
    for name in pip pip3; do ln -s ../../bin/pip3 "$root/usr/local/bin/$name"; done
    rm -f "$root/usr/lib/python3.11/EXTERNALLY-MANAGED"
    rm -rf "$root"/usr/share/{doc,info,locale,man}/* "$root"/var/{cache,log,lib/apt/lists}/*
    find "$root" -xdev -name __pycache__ -prune -exec rm -rf {} +
    : >"$root/etc/machine-id"
    rm -f "$root/etc/resolv.conf" "$root/etc/hostname"

    mkdir -p "$cache"
    tar --directory "$root" --numeric-owner --sort=name --create . |
        docker import --change 'CMD ["python3"]' --change 'ENV LANG=C.UTF-8' \
            --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
            --change 'ENV PYTHON_VERSION=3.11.2' - "mlrepro-base:$base_key" >/dev/null
    docker save "mlrepro-base:$base_key" | gzip -1 >"$1.part"
    mv "$1.part" "$1"
    rm -rf --one-file-system "$root"
}

base_key=$(declare -f make_base | sha256sum | cut -c1-12)

# The image by digest, if the open registry has it.
base_reference() {
    local digest
    digest=$(cat "$state/base/$base_key" 2>/dev/null) || return
    curl --silent --fail --head --output /dev/null \
        --header 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        "http://localhost:$(registry_port open)/v2/$base_name/manifests/$digest" || return
    echo "localhost:$(registry_port open)/$base_name@$digest"
}

up_base() {
    local archive=$cache/base-$base_key.tar.gz image
    needs engine registry
    if base_reference >/dev/null; then
        say "base: is in the registry"
        return
    fi
    mkdir -p "$state/base"
    if [[ ! -s $archive ]]; then
        say "base: making it with debootstrap (about 2 minutes, once)"
        unmount "$state/base" # an earlier attempt's, cut short
        make_base "$archive"
    fi
    say "base: pushing it to the registry"
    image=localhost:$(registry_port open)/$base_name:3.11-slim
    docker image inspect "mlrepro-base:$base_key" >/dev/null 2>&1 ||
        docker load --quiet --input "$archive" >/dev/null
    docker tag "mlrepro-base:$base_key" "$image"
    docker push "$image" | sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p' >"$state/base/$base_key"
    base_reference >/dev/null || die "base: the registry did not take the image"
}

down_base() { unmount "$state/base"; }
