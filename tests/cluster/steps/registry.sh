# shellcheck shell=bash
# registry: two of them on localhost, one open and one with a password.

registry_user=mlrepro

registry_port() { cat "$state/registry/$1.port"; }

listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# registry_answers NAME: a registry that asks for a password answers 401.
registry_answers() {
    [[ $(curl --silent --output /dev/null --write-out '%{http_code}' \
        "http://localhost:$(registry_port "$1")/v2/") =~ ^(200|401)$ ]]
}

# start_registry NAME PORT [AUTH]: on PORT, or on the next one that is free.
start_registry() {
    local name=$1 port=$2 auth=${3:-} folder=$state/registry
    if running "registry-$name"; then
        say "registry: $name one runs at localhost:$(registry_port "$name")"
        return
    fi
    if [[ -s $folder/$name.port ]]; then port=$(registry_port "$name"); fi
    while listening "$port"; do port=$((port + 10)); done
    echo "$port" >"$folder/$name.port"
    cat >"$folder/$name.yml" <<YAML
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: $folder/$name}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
$auth
YAML
    say "registry: starting the $name one at localhost:$port"
    start "registry-$name" docker-registry serve "$folder/$name.yml"
    await "registry-$name" 20 registry_answers "$name"
}

up_registry() {
    local folder=$state/registry password
    mkdir -p "$folder"
    if [[ ! -s $folder/htpasswd ]]; then
        password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
        (umask 077 && echo "$password" >"$folder/password")
        htpasswd -niB "$registry_user" <<<"$password" >"$folder/htpasswd"
    fi
    start_registry open 5000
    start_registry closed 5001 "auth: {htpasswd: {realm: mlrepro, path: $folder/htpasswd}}"
}

down_registry() { stop registry-open registry-closed; }
