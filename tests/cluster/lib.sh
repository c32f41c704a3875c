# shellcheck shell=bash
# What up and down share: where things lie, and how a program is started,
# watched and stopped. Sourced, never run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$(realpath -m "${MLREPRO_CLUSTER_STATE:-/var/tmp/mlrepro-cluster}")
cache=$(realpath -m "${MLREPRO_CLUSTER_CACHE:-$HOME/.cache/mlrepro-cluster}")

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Only one up or down at a time. Programs are started without descriptor 9.
lock() {
    exec 9>"$state.lock"
    flock --nonblock 9 && return
    say "waiting for another up or down to finish"
    flock 9
}

# The state letter and start time of process $1: together with the pid, they
# tell our program from a zombie and from a stranger that got the same pid.
process() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1,20; }

# running NAME: does the program that up started as NAME still run?
running() {
    local pid born letter now
    [[ -s $state/run/$1.pid ]] || return 1
    read -r pid born <"$state/run/$1.pid"
    read -r letter now <<<"$(process "$pid")"
    [[ $letter != Z && -n $now && $now == "$born" ]]
}

# start NAME COMMAND...: in the background, in a session of its own.
start() {
    local name=$1 letter born
    shift
    running "$name" && return
    (cd / && exec setsid nohup "$@") >"$state/log/$name.log" 2>&1 </dev/null 9>&- &
    read -r letter born <<<"$(process $!)"
    echo "$! $born" >"$state/run/$name.pid"
}

# await NAME SECONDS COMMAND...: until COMMAND succeeds, or NAME has died.
await() {
    local name=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        running "$name" || die "$name stopped at once; see $state/log/$name.log"
        ((SECONDS < end)) || die "$name does not answer; see $state/log/$name.log"
        sleep 0.3
    done
}

# stop NAME...: ask, wait, then force.
stop() {
    local name pid end
    for name in "$@"; do
        if running "$name"; then
            say "stopping $name"
            read -r pid _ <"$state/run/$name.pid"
            kill "$pid"
            end=$((SECONDS + 20))
            while running "$name" && ((SECONDS < end)); do sleep 0.1; done
            ! running "$name" || kill -KILL "$pid"
        fi
        rm -f "$state/run/$name.pid"
    done
}

# unmount FOLDER: everything mounted on it and in it, the deepest first.
unmount() {
    local point
    findmnt --list --noheadings --output TARGET | sort --reverse |
        awk -v folder="$1" '$0 == folder || index($0, folder "/") == 1' |
        while read -r point; do umount --lazy "$point"; done
}

# The MTU of the way out: a bridge with a larger one loses big packets.
mtu() {
    local device
    device=$(ip -oneline route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p;q')
    cat "/sys/class/net/${device:-lo}/mtu"
}

# The file to source: only what really answers is in it.
write_env() {
    local file=$state/env reference
    {
        echo "case :\$PATH: in *:$state/bin:*) ;; *) PATH=$state/bin:\$PATH ;; esac"
        echo "export PATH"
        if engine_answers; then
            echo "export MLREPRO_TEST_ENGINE=1"
        fi
        if running registry-open; then
            echo "export MLREPRO_TEST_REGISTRY=localhost:$(registry_port open)"
            if reference=$(base_reference); then
                echo "export MLREPRO_TEST_BASE=$reference"
            fi
        fi
        if running registry-closed; then
            echo "export MLREPRO_TEST_REGISTRY_AUTH=localhost:$(registry_port closed)"
            echo "export MLREPRO_TEST_REGISTRY_AUTH_USER=$registry_user"
            echo "export MLREPRO_TEST_REGISTRY_AUTH_PASSWORD=$(<"$state/registry/password")"
        fi
        if running buildkitd; then
            echo "export MLREPRO_TEST_BUILDKIT=$buildkit"
        fi
        if kubernetes_answers; then
            echo "export KUBECONFIG=$kubeconfig"
            echo "export MLREPRO_TEST_KUBERNETES=1"
        fi
    } >"$file.part"
    chmod 600 "$file.part"
    mv "$file.part" "$file"
}

source "$here/steps/install.sh"
source "$here/steps/engine.sh"
source "$here/steps/registry.sh"
source "$here/steps/base.sh"
source "$here/steps/buildkit.sh"
source "$here/steps/kubernetes.sh"
