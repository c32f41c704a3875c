# shellcheck shell=bash
# kubernetes: a cluster of one node, as plain processes on Debian's etcd,
# containerd and CNI plugins. Its programs are built from their Go modules. It
# lives on a bridge of its own: nothing outside this machine reaches it. What
# is in it lasts until `down`.

kube=$state/kubernetes
kubeconfig=$kube/admin.conf
programs=$cache/bin/$(cat "$here"/kubernetes/{go.mod,go.sum,pause/main.go} | sha256sum | cut -c1-12)
node=mlrepro
bridge=mlrepro0
address=10.244.0.1       # the node's, on the bridge
pods=10.244.0.0/24
services=10.96.0.0/16
etcd=http://127.0.0.244  # a loopback address that no other etcd uses
kube_daemons=(etcd containerd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)

admin() { "$programs/kubectl" --kubeconfig "$kubeconfig" --request-timeout 10s "$@"; }

api_ready() { admin get --raw /readyz; }
node_ready() { admin get node "$node" --output 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep True; }
kubernetes_answers() { running kube-apiserver && node_ready >/dev/null 2>&1; }

# Kubernetes from source: 10 minutes on 2 cores, once.
build_programs() {
    local program package missing=() version fields flags log=$state/log/build.log
    for program in pause kubectl kube-proxy kube-scheduler kube-controller-manager kubelet kube-apiserver; do
        [[ -x $programs/$program ]] || missing+=("$program")
    done
    ((${#missing[@]})) || return 0

    command -v go >/dev/null || die "kubernetes: go is needed to build it (1.26 or newer)"
    version=$(sed -n 's/.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' "$here/kubernetes/go.mod")
    IFS=. read -ra fields <<<"$version"
    flags="-s -w"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=v$version"
        flags+=" -X $package.gitMajor=${fields[0]} -X $package.gitMinor=${fields[1]}"
    done
    mkdir -p "$programs"
    for program in "${missing[@]}"; do
        say "kubernetes: building $program $version"
        package=k8s.io/kubernetes/cmd/$program
        if [[ $program == pause ]]; then package=./pause; fi
        (
            cd "$here/kubernetes" &&
                CGO_ENABLED=0 GOWORK=off GOFLAGS='' nice go build -trimpath -buildvcs=false \
                    -ldflags "$flags" -o "$programs/$program.part" "$package"
        ) >"$log" 2>&1 || die "kubernetes: go build failed; see $log"
        mv "$programs/$program.part" "$programs/$program"
    done
}

# issue NAME SUBJECT EXTENSION: a key and a certificate, signed by our CA (which
# signs itself).
issue() {
    local signer=(-CA "$kube/pki/ca.crt" -CAkey "$kube/pki/ca.key") log=$state/log/openssl.log
    if [[ $1 == ca ]]; then signer=(); fi
    openssl req -x509 -config <(printf '[req]\ndistinguished_name=d\n[d]\n') -days 3650 \
        -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -addext "$3" \
        "${signer[@]}" -keyout "$kube/pki/$1.key" -out "$kube/pki/$1.crt" 2>"$log" ||
        die "kubernetes: openssl failed; see $log"
}

# configure NAME: a kubeconfig for the holder of the certificate NAME.
configure() {
    local pki=$kube/pki
    cat >"$kube/$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: mlrepro
  cluster:
    server: https://$address:6443
    certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$pki/$1.crt")
    client-key-data: $(base64 -w0 "$pki/$1.key")
contexts:
- name: mlrepro
  context: {cluster: mlrepro, user: $1}
current-context: mlrepro
YAML
}

make_certificates() {
    local name
    mkdir -p "$kube/pki"
    issue ca /CN=mlrepro-cluster basicConstraints=critical,CA:TRUE
    issue apiserver /O=system:masters/CN=kube-apiserver \
        "subjectAltName=IP:$address,IP:${services%.*}.1,DNS:kubernetes.default.svc"
    issue kubelet "/O=system:nodes/CN=system:node:$node" "subjectAltName=IP:$address"
    issue admin /O=system:masters/CN=admin basicConstraints=CA:FALSE
    for name in kube-controller-manager kube-scheduler kube-proxy; do
        issue "$name" "/CN=system:$name" basicConstraints=CA:FALSE
    done
    for name in admin kubelet kube-controller-manager kube-scheduler kube-proxy; do
        configure "$name"
    done
    openssl genrsa -out "$kube/pki/service-accounts.key" 2048 2>/dev/null
}

# rules ACTION: what lets pods out, where Docker's policy for FORWARD is DROP.
rules() {
    iptables "$1" FORWARD --in-interface "$bridge" --jump ACCEPT &&
        iptables --table nat "$1" POSTROUTING --source "$pods" \
            ! --out-interface "$bridge" --jump MASQUERADE
} 2>/dev/null

make_network() {
    modprobe br_netfilter 2>/dev/null || true
    echo 1 >/proc/sys/net/ipv4/ip_forward
    if [[ -e /proc/sys/net/bridge ]]; then
        echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
    fi
    ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" mtu "$(mtu)" type bridge
    ip address replace "$address/24" dev "$bridge"
    ip link set "$bridge" up

    rules --check || rules --insert

    mkdir -p "$kube/cni"
    cat >"$kube/cni/mlrepro.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "mlrepro", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "mtu": $(mtu),
   "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$kube/addresses",
            "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
JSON
}

# The one image the cluster itself needs: the program that holds a pod open.
push_pause() {
    local image
    image=localhost:$(registry_port open)/mlrepro/pause:${programs##*/}
    docker image inspect "$image" >/dev/null 2>&1 ||
        tar --directory "$programs" --create pause |
        docker import --change 'ENTRYPOINT ["/pause"]' - "$image" >/dev/null
    docker push --quiet "$image"
}

configure_containerd() {
    local name port cri='plugins."io.containerd.grpc.v1.cri"'
    cat >"$kube/containerd.toml" <<TOML
version = 2
root = "$kube/containerd"
state = "$kube/containerd-state"
[grpc]
  address = "$kube/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$kube/containerd-opt"
[$cri]
  sandbox_image = "$1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[$cri.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$kube/cni"
[$cri.registry]
  config_path = "$kube/registries"
TOML
    for name in open closed; do
        port=$(registry_port "$name")
        mkdir -p "$kube/registries/localhost:$port"
        cat >"$kube/registries/localhost:$port/hosts.toml" <<TOML
server = "http://localhost:$port"
[host."http://localhost:$port"]
  capabilities = ["pull", "resolve"]
TOML
    done
}

configure_kubelet() {
    local resolv=/etc/resolv.conf nameserver
    [[ ! -e /run/systemd/resolve/resolv.conf ]] || resolv=/run/systemd/resolve/resolv.conf
    # There is no DNS of the cluster. Naming the machine's own, when pods can
    # reach it, spares every pod a warning.
    nameserver=$(awk '$1 == "nameserver" && $2 !~ /^(127|::1)/ {print $2; exit}' "$resolv")
    cat >"$kube/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzPort: 0
tlsCertFile: $kube/pki/kubelet.crt
tlsPrivateKeyFile: $kube/pki/kubelet.key
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $kube/pki/ca.crt}}
containerRuntimeEndpoint: unix://$kube/containerd.sock
podLogsDir: $kube/pod-logs
volumePluginDir: $kube/volume-plugins
resolvConf: $resolv
clusterDomain: cluster.local
clusterDNS: [$nameserver]
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 0%, imagefs.available: 0%}
YAML
}

start_daemons() {
    local pki=$kube/pki
    start etcd etcd --data-dir "$kube/etcd" \
        --listen-client-urls $etcd:2379 --advertise-client-urls $etcd:2379 \
        --listen-peer-urls $etcd:2380
    start containerd containerd --config "$kube/containerd.toml"
    start kube-apiserver "$programs/kube-apiserver" --etcd-servers $etcd:2379 \
        --bind-address $address --service-cluster-ip-range $services \
        --authorization-mode Node,RBAC --allow-privileged \
        --client-ca-file "$pki/ca.crt" \
        --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
        --kubelet-certificate-authority "$pki/ca.crt" \
        --kubelet-client-certificate "$pki/apiserver.crt" --kubelet-client-key "$pki/apiserver.key" \
        --kubelet-preferred-address-types InternalIP \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$pki/service-accounts.key" \
        --service-account-signing-key-file "$pki/service-accounts.key"
    await kube-apiserver 60 api_ready
    start kube-controller-manager "$programs/kube-controller-manager" \
        --kubeconfig "$kube/kube-controller-manager.conf" --bind-address $address \
        --leader-elect=false --use-service-account-credentials \
        --flex-volume-plugin-dir "$kube/volume-plugins" \
        --service-account-private-key-file "$pki/service-accounts.key" --root-ca-file "$pki/ca.crt"
    start kube-scheduler "$programs/kube-scheduler" \
        --kubeconfig "$kube/kube-scheduler.conf" --bind-address $address --leader-elect=false
    start kubelet "$programs/kubelet" --config "$kube/kubelet.yaml" \
        --kubeconfig "$kube/kubelet.conf" --root-dir "$kube/kubelet" --cert-dir "$kube/pki" \
        --hostname-override $node --node-ip $address
    start kube-proxy "$programs/kube-proxy" --kubeconfig "$kube/kube-proxy.conf" \
        --hostname-override $node --proxy-mode iptables --cluster-cidr $pods \
        --nodeport-addresses "127.0.0.0/8,$address/32" \
        --conntrack-max-per-core 0 --oom-score-adj 0 \
        --healthz-bind-address $address:10256 --metrics-bind-address $address:10249
    await kubelet 90 node_ready
    await kube-controller-manager 60 admin get serviceaccount default
}

# A kubelet that cannot measure disks (localStorageCapacityIsolation: false) reports no
# ephemeral-storage, and no pod that requests some would ever land.
advertise_storage() {
    local what patch=()
    for what in capacity allocatable; do
        patch+=("{\"op\":\"add\",\"path\":\"/status/$what/ephemeral-storage\",\"value\":\"50Gi\"}")
    done
    admin patch node "$node" --subresource=status --type=json \
        --patch "[${patch[0]},${patch[1]}]" >/dev/null
}

up_kubernetes() {
    local daemon all=yes any='' pause
    build_programs
    ln -sfn "$programs/kubectl" "$state/bin/kubectl"
    for daemon in "${kube_daemons[@]}"; do
        if running "$daemon"; then any=yes; else all=; fi
    done
    if [[ $all ]]; then
        await kubelet 60 node_ready
        advertise_storage
        say "kubernetes: runs"
        return
    fi
    needs engine registry
    say "kubernetes: starting it"
    if [[ ! $any ]]; then
        down_kubernetes # what a crash or a reboot left
        mkdir -m 700 "$kube"
        make_certificates
    fi
    make_network
    pause=$(push_pause)
    configure_containerd "$pause"
    configure_kubelet
    start_daemons
    advertise_storage
    say "kubernetes: node $node is Ready"
}

# Take the pods away through the kubelet, which leaves no network behind; then
# stop everything and forget the cluster.
down_kubernetes() {
    local task ctr=(ctr --address "$kube/containerd.sock" --namespace k8s.io)
    stop kube-controller-manager kube-scheduler
    if kubernetes_answers; then
        say "deleting the pods"
        admin delete pods --all --all-namespaces --grace-period 1 --timeout 60s >/dev/null 2>&1 || true
    fi
    stop kubelet kube-proxy kube-apiserver etcd
    if [[ -e $kube/containerd.toml ]]; then
        # Started again after a crash, containerd finds its containers.
        start containerd containerd --config "$kube/containerd.toml"
        if (await containerd 30 "${ctr[@]}" version); then
            for task in $("${ctr[@]}" tasks list --quiet); do
                "${ctr[@]}" tasks delete --force "$task" >/dev/null 2>&1 || true
            done
        fi
    fi
    stop containerd
    [[ -d $kube ]] || return 0
    unmount "$kube"
    rm -rf --one-file-system "$kube"
    "$programs/kube-proxy" --cleanup >/dev/null 2>&1 || true
    {
        rules --delete
        # kube-proxy leaves this one behind.
        iptables --delete INPUT --jump KUBE-FIREWALL
        iptables --delete OUTPUT --jump KUBE-FIREWALL
        iptables --flush KUBE-FIREWALL
        iptables --delete-chain KUBE-FIREWALL
    } 2>/dev/null || true
    ip link delete "$bridge" 2>/dev/null || true
    find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
}
