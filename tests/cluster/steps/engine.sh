# shellcheck shell=bash
# engine: a Docker Engine, unless one answers already. Registries on localhost
# need no setting: the engine speaks plain HTTP with 127.0.0.0/8 by default.

engine_answers() { docker info >/dev/null 2>&1; }

# The engine of Debian has a BuildKit of its own that an older client uses
# directly and a newer one only through buildx: take a client that can build.
choose_client() {
    local client
    while read -r client; do
        if [[ $("$client" version --format '{{.Client.Version}}' 2>/dev/null) =~ ^(18|19|20)\. ]] ||
            "$client" buildx version >/dev/null 2>&1; then
            ln -sfn "$client" "$state/bin/docker"
            return
        fi
    done < <(type -aP docker | grep -v "^$state/")
    die "engine: no docker client here can build with BuildKit (install docker.io or buildx)"
}

up_engine() {
    choose_client
    if engine_answers; then
        say "engine: runs"
        return
    fi
    say "engine: starting dockerd"
    start dockerd dockerd --data-root "$state/docker" --mtu "$(mtu)" \
        --pidfile "$state/run/dockerd.own.pid"
    await dockerd 60 engine_answers
}

down_engine() {
    stop dockerd
    unmount "$state/docker"
}
