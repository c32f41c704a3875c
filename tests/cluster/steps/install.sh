# shellcheck shell=bash
# install: the Debian packages that the other steps and the tests need.

# What must be there, and the package that brings it.
needed='
/etc/ssl/certs/ca-certificates.crt                  ca-certificates
/usr/lib/cni/portmap                                containernetworking-plugins
/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf     fonts-dejavu-core
chromium            chromium
conntrack           conntrack
containerd          containerd
curl                curl
debootstrap         debootstrap
docker-registry     docker-registry
dockerd             docker.io
etcd                etcd-server
htpasswd            apache2-utils
ip                  iproute2
iptables            iptables
openssl             openssl
podman              podman
zstd                zstd
strace              strace
'

missing_packages() {
    local thing package
    while read -r thing package; do
        [[ -z $thing || -e $thing ]] || command -v "$thing" >/dev/null || echo "$package"
    done <<<"$needed"
}

up_install() {
    local packages log=$state/log/install.log
    mapfile -t packages < <(missing_packages)
    if ((${#packages[@]} == 0)); then
        say "install: nothing is missing"
        return
    fi
    command -v apt-get >/dev/null ||
        die "install: this machine has no apt-get and lacks ${packages[*]}"
    say "install: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } \
        >"$log" 2>&1 || die "install: apt-get failed; see $log"
}

down_install() { :; }
