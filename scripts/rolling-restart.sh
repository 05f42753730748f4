#!/usr/bin/env bash
# Restarts every node of a cluster, one after the other, each emptied before. Stops at the first trouble.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

usage() {
    cat <<'USAGE'
usage: scripts/rolling-restart.sh [--recreate]

Restarts the nodes of scripts/cluster.sh if that runs, otherwise those of docker-compose.yml.

  --recreate   containers only: each is replaced by one of the newest image (docker compose build node), for an upgrade

variables, with their defaults:
  CLUSTER_DIR=/tmp/rosetta-cluster   as for scripts/cluster.sh
  DRAIN_SECONDS=300                  how long emptying a node may take
USAGE
}

readonly ready_deadline=60
readonly drain_seconds=${DRAIN_SECONDS:-300}
readonly work=${CLUSTER_DIR:-${TMPDIR:-/tmp}/rosetta-cluster}
recreate=false
kind=containers
nodes=()
# A node that is not being restarted: it answers the commands.
asked=""

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
die() {
    printf 'rolling-restart.sh: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/containers.sh
. scripts/containers.sh

main() {
    local argument node
    for argument in "$@"; do
        case $argument in
            --recreate) recreate=true ;;
            -h | --help) usage && exit 0 ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    find_nodes
    asked=${nodes[0]}
    settled 0 || die "before the first node: $trouble; see to it, then run this again"
    for node in "${nodes[@]}"; do
        asked=$(other_than "$node")
        restart "$node"
    done
    say "all ${#nodes[@]} nodes restarted"
}

find_nodes() {
    if [[ -e $work/ports ]]; then
        kind=processes
        mapfile -t nodes < <(scripts/cluster.sh running)
        # shellcheck source=/dev/null
        . "$work/ports"
        ! $recreate || die "--recreate is for containers; stop, replace the binary and start each node instead"
    else
        find_compose
        mapfile -t nodes < <(node_containers)
    fi
    ((${#nodes[@]} >= 2)) || die "${#nodes[@]} nodes run; a node can only be emptied into another: start a second one"
}

other_than() {
    local node
    for node in "${nodes[@]}"; do
        if [[ $node != "$1" ]]; then
            echo "$node"
            return
        fi
    done
}

# restart NODE: the whole way of one node. After a failure the node stays as it is, and the line says what to do.
restart() {
    local node=$1 now=$1 began=$EPOCHREALTIME drained restarted said
    said=$(rosetta drain "$node" --timeout "$drain_seconds" 2>&1) ||
        die "$node was not emptied, and still runs: ${said##*$'\n'}"
    drained=$EPOCHREALTIME
    "restart_$kind" "$node" || die "$node is drained and did not start; look at its log, start it, then: rosetta undrain $node"
    until_ready "$now" ||
        die "$now does not get ready within $ready_deadline s: $trouble; see its log, then: rosetta undrain $now"
    restarted=$EPOCHREALTIME
    rosetta undrain "$node" >/dev/null || die "$node is ready, but still drained; run: rosetta undrain $node"
    settled $ready_deadline || die "after $now: $trouble; the other nodes were not restarted. See to it, then run this again"
    say "$now: emptied in $(span "$began" "$drained"), ready after $(span "$drained" "$restarted")," \
        "everything runs after $(span "$restarted" "$EPOCHREALTIME")"
}

span() {
    local tenths=$(((${2/./} - ${1/./}) / 100000))
    echo "$((tenths / 10)).$((tenths % 10)) s"
}

# ------------------------------------------------------------------------------------------- two kinds

restart_processes() { scripts/cluster.sh restart "$1" >/dev/null; }

# Sets `now` of its caller to the id of the node that is there afterwards.
restart_containers() {
    if ! $recreate; then
        docker restart --time 30 "$1" >/dev/null
        return
    fi
    docker stop --time 30 "$1" >/dev/null && docker rm "$1" >/dev/null || return 1
    # Volumes and addresses of the others stay: only what is missing is made.
    compose up -d --no-deps --no-recreate --scale "node=${#nodes[@]}" node >/dev/null 2>&1 || return 1
    now=$(node_containers | grep -vxF -f <(printf '%s\n' "${nodes[@]}"))
    local index
    for index in "${!nodes[@]}"; do
        [[ ${nodes[index]} != "$1" ]] || nodes[index]=$now
    done
}

# rosetta ARGUMENTS...: a command, answered by a node that stays up.
rosetta() {
    case $kind in
        processes) "$work/rosetta" "$@" --endpoint "$(endpoint "$asked")" ;;
        containers) docker exec "$asked" rosetta "$@" ;;
    esac
}

endpoint() { sed 's|^\([0-9]*\) .*|http://127.0.0.1:\1|' "$work/$1/ports"; }

is_ready() {
    case $kind in
        processes) "$work/rosetta" health --endpoint "$(endpoint "$1")" ;;
        containers) docker exec "$1" rosetta health ;;
    esac
}

# ------------------------------------------------------------------------------------------- waiting

trouble=""

until_ready() {
    local deadline=$((SECONDS + ready_deadline))
    until trouble=$(is_ready "$1" 2>&1); do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# settled SECONDS: within that time every pipeline runs, or is paused because somebody wants that.
settled() {
    local deadline=$((SECONDS + $1)) table
    while true; do
        if table=$(rosetta status 2>&1); then
            trouble=$(awk 'NR > 1 && $2 != "running" && $2 != "paused" { print "pipeline " $1 " is " $2; exit }' <<<"$table")
        else
            trouble=$table
        fi
        [[ -n $trouble ]] || return 0
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

main "$@"
