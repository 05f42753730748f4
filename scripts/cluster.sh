#!/usr/bin/env bash
# A whole cluster of processes on this machine, without Docker: etcd, Redis, three PostgreSQL servers and the nodes.
# Needs Rust; installs the rest. All of it is in one folder, which `down` removes.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

usage() {
    cat <<'USAGE'
usage: scripts/cluster.sh up [--nodes N] [--etcd N] [--sample]   starts it: 3 nodes, 3 members of etcd
                          down                                   stops it, and removes everything
                          status                                 processes, nodes and pipelines
                          add                                    starts one more node
                          running                                names of the nodes that run
                          stop|kill|start|restart NODE           as `node-1`; `kill` is kill -9

  --sample   applies scripts/sample/pipelines.toml: 20 pipelines

variables, with their defaults:
  CLUSTER_DIR=/tmp/rosetta-cluster   the folder of all of it
  PGBIN                              folder of initdb and postgres; the newest that is installed
  ROSETTA_BIN                        run this binary instead of building one
USAGE
}

readonly ready_deadline=60 stop_deadline=30
work=${CLUSTER_DIR:-${TMPDIR:-/tmp}/rosetta-cluster}
nodes=3 members=3 sample=false
# What `up` has chosen; in $work/ports for the commands after it.
config_port="" source_port="" destination_port="" redis_port="" etcd_endpoints=""

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'cluster.sh: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/throwaway.sh
. scripts/throwaway.sh

main() {
    local command=${1:-}
    shift || true
    case $command in
        up) up "$@" ;;
        down) down ;;
        status) read_ports && status ;;
        add) read_ports && add ;;
        running) read_ports && running ;;
        stop | start | restart | kill)
            [[ $# == 1 ]] || die "$command needs a node, such as node-1"
            read_ports
            [[ -d $work/$1 && $1 == node-* ]] || die "there is no node '$1'; scripts/cluster.sh status shows them"
            "${command}_node" "$1"
            ;;
        -h | --help) usage ;;
        *) usage >&2 && exit 2 ;;
    esac
}

up() {
    while (($# > 0)); do
        case $1 in
            --nodes) nodes=$(number "$@") && shift 2 ;;
            --etcd) members=$(number "$@") && shift 2 ;;
            --sample) sample=true && shift ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    [[ ! -e $work ]] || die "$work is there: a cluster runs, or one ended badly; scripts/cluster.sh down removes it"
    [[ -n ${ROSETTA_BIN:-} ]] || scripts/install.sh
    find_servers
    find_rosetta
    mkdir -p "$work"
    chmod 755 "$work"
    trap undo EXIT
    start_etcd
    start_redis
    start_databases
    write_ports
    local number
    say "Starting $nodes nodes"
    for ((number = 1; number <= nodes; number++)); do
        new_node "node-$number"
    done
    wait_for_nodes
    $sample && apply_sample
    trap - EXIT
    invite
}

# number OPTION VALUE
number() {
    [[ ${2:-} =~ ^[1-9][0-9]?$ ]] || die "$1 needs a number from 1 to 99"
    echo "$2"
}

undo() {
    local code=$?
    trap - EXIT
    echo "cluster.sh: not started; taking it down again" >&2
    down || true
    exit "$code"
}

# ------------------------------------------------------------------------------------- what nodes need

start_etcd() {
    say "Starting etcd, $members members"
    local number peers="" client=() peer=()
    for ((number = 1; number <= members; number++)); do
        client[number]=$(free_port) peer[number]=$(free_port)
        peers+=${peers:+,}etcd-$number=http://127.0.0.1:${peer[number]}
        etcd_endpoints+=${etcd_endpoints:+,}http://127.0.0.1:${client[number]}
    done
    for ((number = 1; number <= members; number++)); do
        # Three members on one disk: what it holds is thrown away, so a slow disk is not to cost an election.
        spawn "etcd-$number" etcd --name "etcd-$number" --data-dir "$work/etcd-$number" \
            --listen-client-urls "http://127.0.0.1:${client[number]}" \
            --advertise-client-urls "http://127.0.0.1:${client[number]}" \
            --listen-peer-urls "http://127.0.0.1:${peer[number]}" \
            --initial-advertise-peer-urls "http://127.0.0.1:${peer[number]}" --initial-cluster "$peers" \
            --heartbeat-interval 250 --election-timeout 2500 --log-level error
    done
    wait_until "etcd" "$work/etcd-1.log" env ETCDCTL_API=3 etcdctl --endpoints "$etcd_endpoints" endpoint health
    echo "etcd: $etcd_endpoints"
}

start_redis() {
    redis_port=$(free_port)
    mkdir "$work/redis"
    spawn redis redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work/redis" --set-proc-title no \
        --appendonly yes --maxmemory-policy noeviction
    wait_until "Redis" "$work/redis.log" redis-cli -p "$redis_port" ping
}

start_databases() {
    say "Starting three PostgreSQL servers ($("$pgbin/postgres" --version))"
    local -a wide=("max_connections = 400" "max_wal_senders = 100" "max_replication_slots = 100")
    local making=() name
    for name in config source destination; do
        create_server "$name" "${wide[@]}" &
        making+=($!)
    done
    for name in "${making[@]}"; do
        wait "$name"
    done
    start_server config config_port
    start_server source source_port
    start_server destination destination_port
    psql_at "$config_port" postgres -c 'CREATE ROLE rosetta LOGIN' -c 'CREATE DATABASE rosetta OWNER rosetta'
    psql_at "$source_port" postgres -c 'CREATE DATABASE shop'
    psql_at "$destination_port" postgres -c 'CREATE DATABASE shop'
    export SAMPLE_PASSWORD=sample
    psql_at "$source_port" shop -f scripts/sample/source.sql
    psql_at "$destination_port" shop -f scripts/sample/destination.sql
    echo "source: $(url "$source_port")"
    echo "destination: $(url "$destination_port")"
}

url() { echo "postgres://postgres@127.0.0.1:$1/shop"; }

# Every variable of the nodes and of the commands, for this script and for a shell that wants to look around.
write_ports() {
    (umask 077 && printf 'first:%s\n' "$(head -c 32 /dev/urandom | base64)" >"$work/keys")
    cat >"$work/ports" <<PORTS
export ROSETTA_ETCD_ENDPOINTS=$etcd_endpoints ROSETTA_REDIS_URL=redis://127.0.0.1:$redis_port
export ROSETTA_DB_HOST=127.0.0.1 ROSETTA_DB_PORT=$config_port ROSETTA_SECRET_KEY_FILE=$work/keys
export SHOP_ADDRESS=127.0.0.1:$source_port MIRROR_ADDRESS=127.0.0.1:$destination_port SAMPLE_PASSWORD=sample
PORTS
    ln -s "$rosetta" "$work/rosetta"
    read_ports
}

read_ports() {
    [[ -e $work/ports ]] || die "no cluster in $work; scripts/cluster.sh up starts one"
    # shellcheck source=/dev/null
    . "$work/ports"
    rosetta=$work/rosetta
    ROSETTA_ENDPOINT=$(endpoints)
    export ROSETTA_ENDPOINT
}

# ---------------------------------------------------------------------------------------------- nodes

# new_node NAME: chooses where it listens, and starts it.
new_node() {
    mkdir "$work/$1"
    echo "$(free_port) $(free_port)" >"$work/$1/ports"
    start_node "$1"
}

start_node() {
    local grpc http
    ! is_running "$1" || die "$1 runs"
    read -r grpc http <"$work/$1/ports"
    spawn "$1" env ROSETTA_NODE_ID="$1" "$rosetta" node --grpc-addr "127.0.0.1:$grpc" --http-addr "127.0.0.1:$http" \
        --data-dir "$work/$1/data"
    echo "$1: gRPC 127.0.0.1:$grpc, HTTP 127.0.0.1:$http"
}

stop_node() { end "$1" TERM; }
kill_node() { end "$1" KILL; }
restart_node() {
    stop_node "$1"
    start_node "$1"
}

add() {
    local number=1
    while [[ -d $work/node-$number ]]; do
        number=$((number + 1))
    done
    new_node "node-$number"
    wait_until "node-$number" "$work/node-$number.log" "$rosetta" health --endpoint "$(endpoint "node-$number")"
}

node_names() { (cd "$work" && printf '%s\n' node-*/ | sed -n 's|^\(node-[0-9]*\)/$|\1|p' | sort -t- -k2n); }
running() {
    local name
    for name in $(node_names); do
        ! is_running "$name" || echo "$name"
    done
}
endpoint() { sed 's|^\([0-9]*\) .*|http://127.0.0.1:\1|' "$work/$1/ports"; }

# Every node's address, separated by commas: a command asks the next one when one does not answer.
endpoints() {
    local name
    for name in $(node_names); do
        endpoint "$name"
    done | paste -sd,
}

wait_for_nodes() {
    local name
    for name in $(node_names); do
        wait_until "$name" "$work/$name.log" "$rosetta" health --endpoint "$(endpoint "$name")"
    done
    ROSETTA_ENDPOINT=$(endpoints)
    export ROSETTA_ENDPOINT
}

apply_sample() {
    say "rosetta apply --yes -f scripts/sample/pipelines.toml"
    "$rosetta" apply --yes -f scripts/sample/pipelines.toml | tail -n 1
    wait_until "a pipeline" "$work/node-1.log" all_run
    echo "all of them run"
}

# What it prints is what is in the way.
all_run() {
    local table
    table=$("$rosetta" status) || return 1
    ! awk 'NR > 1 && $2 != "running" { print $1, "is", $2; found = 1; exit } END { exit !found }' <<<"$table"
}

# ------------------------------------------------------------------------------------------ processes

# spawn NAME COMMAND...: runs on when this script ends. Its log is $work/NAME.log.
spawn() {
    local name=$1
    shift
    setsid "$@" </dev/null >>"$work/$name.log" 2>&1 &
    echo $! >"$work/$name.pid"
}

# The process may have ended, and its number be another's now: each of ours has its folder among its arguments.
is_running() { [[ -e $work/$1.pid ]] && grep -qs -- "$work/" "/proc/$(<"$work/$1.pid")/cmdline"; }

# end NAME SIGNAL
end() {
    local deadline=$((SECONDS + stop_deadline))
    while is_running "$1"; do
        ((SECONDS < deadline)) || die "$1 does not end within $stop_deadline s; its log is $work/$1.log"
        kill "-$2" "$(<"$work/$1.pid")" 2>/dev/null || true
        sleep 0.1
    done
}

# wait_until WHAT LOG COMMAND...
wait_until() {
    local what=$1 log=$2 deadline=$((SECONDS + ready_deadline)) said
    shift 2
    until said=$("$@" 2>&1); do
        ((SECONDS < deadline)) || die "$what is not ready within $ready_deadline s: ${said:-no answer}; its log is $log"
        sleep 0.1
    done
}

status() {
    local file name
    for file in "$work"/*.pid; do
        name=$(basename "$file" .pid)
        printf '%-10s %s\n' "$name" "$(is_running "$name" && echo "process $(<"$file")" || echo ended)"
    done
    "$rosetta" nodes
    "$rosetta" status
}

down() {
    [[ -d $work ]] || die "no cluster in $work"
    find_servers
    local file name
    # Nodes first: what they are told to give up, they give up cleanly.
    for file in "$work"/node-*.pid "$work"/redis.pid "$work"/etcd-*.pid; do
        [[ ! -e $file ]] || end "$(basename "$file" .pid)" TERM &
    done
    wait
    for name in config source destination; do
        stop_server "$name"
    done
    rm -rf "$work"
    echo "cluster.sh: stopped, and $work removed"
}

invite() {
    local first
    first=$(endpoint node-1)
    say "Running"
    cat <<INVITE
Have the commands ask this cluster:
  . $work/ports; export ROSETTA_ENDPOINT=$ROSETTA_ENDPOINT; alias rosetta=$rosetta
Then:
  rosetta nodes
  rosetta status --watch
  rosetta apply -f scripts/sample/pipelines.toml
  rosetta drain node-1; rosetta undrain node-1
  rosetta verify --config scripts/sample/pipelines.toml
  grpcurl -plaintext ${first#http://} rosetta.v1.Cluster/Get
Write something:
  pgbench -n -c 4 -T 30 -f scripts/sample/load.sql -h 127.0.0.1 -p $source_port -U postgres shop
Break something:
  scripts/cluster.sh kill node-2; scripts/cluster.sh start node-2; scripts/cluster.sh add; scripts/rolling-restart.sh
Stop all of it, and remove it:
  scripts/cluster.sh down
Logs: $work/*.log
INVITE
}

main "$@"
