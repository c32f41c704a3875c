# shellcheck shell=bash
# buildkit: a buildkitd beside the engine, whose own BuildKit is too old to give
# the same digest again. Its programs are built from their Go module.

buildkit_programs=$cache/bin/$(cat "$here"/buildkit/{go.mod,go.sum} | sha256sum | cut -c1-12)
buildkit=unix://$state/buildkit/buildkitd.sock

buildkit_answers() { "$state/bin/buildctl" --addr "$buildkit" debug workers; }

# BuildKit from source: 3 minutes on 2 cores, once.
build_buildkit() {
    local program version log=$state/log/build-buildkit.log flags
    version=$(sed -n 's/.*github.com\/moby\/buildkit \(v[0-9.]*\).*/\1/p' "$here/buildkit/go.mod")
    flags="-s -w -X github.com/moby/buildkit/version.Version=$version"
    mkdir -p "$buildkit_programs"
    for program in buildctl buildkitd; do
        if [[ ! -x $buildkit_programs/$program ]]; then
            command -v go >/dev/null || die "buildkit: go is needed to build it (1.26 or newer)"
            say "buildkit: building $program $version"
            (
                cd "$here/buildkit" &&
                    CGO_ENABLED=0 GOWORK=off GOFLAGS='' nice go build -trimpath -buildvcs=false \
                        -ldflags "$flags" -o "$buildkit_programs/$program.part" \
                        "github.com/moby/buildkit/cmd/$program"
            ) >"$log" 2>&1 || die "buildkit: go build failed; see $log"
            mv "$buildkit_programs/$program.part" "$buildkit_programs/$program"
        fi
        ln -sfn "$buildkit_programs/$program" "$state/bin/$program"
    done
}

configure_buildkit() {
    local name
    cat <<TOML
root = "$state/buildkit/root"
[grpc]
address = ["$buildkit"]
[worker.oci]
enabled = true
gc = false
[worker.containerd]
enabled = false
TOML
    for name in open closed; do
        printf '[registry."localhost:%s"]\nhttp = true\n' "$(registry_port "$name")"
    done
}

up_buildkit() {
    needs registry
    build_buildkit
    if running buildkitd; then
        say "buildkit: runs"
        return
    fi
    say "buildkit: starting buildkitd"
    mkdir -p "$state/buildkit"
    configure_buildkit >"$state/buildkit/buildkitd.toml"
    start buildkitd "$buildkit_programs/buildkitd" --config "$state/buildkit/buildkitd.toml"
    await buildkitd 30 buildkit_answers
}

down_buildkit() {
    stop buildkitd
    unmount "$state/buildkit"
}
