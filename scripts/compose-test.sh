#!/usr/bin/env bash
# Builds and starts docker-compose.yml, and tries what a cluster promises: 20 pipelines by one command, control by every
# node, a node that is killed under load, more nodes; then compares every row. A project of its own: others stay alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

usage() {
    cat <<'USAGE'
usage: scripts/compose-test.sh [--keep]

  --keep   leave it running

Calls go by grpcurl where that is installed, otherwise by the rosetta commands. Where no image can be pulled, run
scripts/images.sh first.

variables, with their defaults:
  LOAD_SECONDS=20   how long each load runs
USAGE
}

readonly load_seconds=${LOAD_SECONDS:-20}
readonly pipelines=20 definitions=/etc/rosetta/pipelines.toml
keep=false passed=0
nodes=()
source="" load_pid=""

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'compose-test.sh: %s\n' "$*" >&2
    exit 1
}
ok() {
    passed=$((passed + 1))
    printf 'ok  %s\n' "$*"
}

# shellcheck source=scripts/containers.sh
. scripts/containers.sh

main() {
    case ${1:-} in
        --keep) keep=true ;;
        '') ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    find_compose
    choose_names
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    start
    apply
    control
    kill_one_under_load
    scale_out
    rolling_restart
    verify
    printf '\n%d passed, 0 failed\n' "$passed"
}

choose_names() {
    export COMPOSE_PROJECT_NAME=rosetta-test
    local first=$((20000 + RANDOM % 100 * 100))
    export ROSETTA_GRPC_PORTS=127.0.0.1:$first-$((first + 39)) ROSETTA_HTTP_PORTS=127.0.0.1:$((first + 50))-$((first + 89))
}

# ---------------------------------------------------------------------------------------------- checks

start() {
    say "compose up --build"
    compose down -v --remove-orphans >/dev/null 2>&1
    compose up --build -d >"$log" 2>&1 || die "compose up failed: $(tail -n 5 "$log")"
    wait_for "three nodes are ready" 120 are_ready 3
    source=$(compose ps -q source)
}

apply() {
    say "rosetta apply"
    docker exec "${nodes[0]}" rosetta apply --yes -f "$definitions" | tail -n 1
    wait_for "$pipelines pipelines run" 120 all_run
    docker exec "${nodes[0]}" rosetta nodes
    spread || die "the pipelines are not spread over all nodes"
    ok "each of ${#nodes[@]} nodes has pipelines"
}

control() {
    say "control by every node ($(have_grpcurl && echo grpcurl || echo 'no grpcurl here: the rosetta commands'))"
    local node other index
    for index in "${!nodes[@]}"; do
        node=${nodes[index]} other=${nodes[(index + 1) % ${#nodes[@]}]}
        lists_services "$node" || die "$node does not describe its services"
        [[ $(list "$node" | grep -cw 'store_[0-9]*') -ge $pipelines ]] || die "$node does not list $pipelines pipelines"
        cluster "$node" | grep -q "$other" || die "$node does not know $other"
        pause "$node" store_7
        wait_for "paused by $node, as $other sees it" 10 is_state "$other" store_7 paused
        resume "$node" store_7
        wait_for "resumed by $node, as $other sees it" 20 is_state "$other" store_7 running
        drain "$node" "$other"
        wait_for "$other drained by $node" 60 is_state_of_node "$node" "$other" drained
        undrain "$node" "$other"
        wait_for "$other undrained by $node" 10 is_state_of_node "$node" "$other" active
    done
    wait_for "all pipelines run" 60 all_run
}

kill_one_under_load() {
    say "kill -9 of a node under load, $load_seconds s of pgbench"
    local victim=${nodes[0]}
    nodes=("${nodes[@]:1}")
    load
    wait_for "load has begun" 20 is_written
    docker kill --signal KILL "$victim" >/dev/null
    wait_for "all pipelines run without $victim" 30 all_run_without "$victim"
    end_load
    docker start "$victim" >/dev/null
    wait_for "three nodes are ready again" 60 are_ready 3
    verify
}

scale_out() {
    say "compose up --scale node=5"
    compose up -d --no-recreate --scale node=5 >"$log" 2>&1 || die "scaling failed: $(tail -n 5 "$log")"
    wait_for "five nodes are ready" 60 are_ready 5
    wait_for "each of five nodes has pipelines" 60 spread
}

rolling_restart() {
    say "rolling restart under load"
    load
    scripts/rolling-restart.sh || die "the rolling restart did not end"
    end_load
    ok "all nodes restarted"
}

verify() {
    local text
    text=$(docker exec "${nodes[0]}" rosetta verify --config "$definitions" 2>&1) || die "the mirror is not equal: $text"
    ok "rosetta verify: $(tail -n 1 <<<"$text")"
}

# ---------------------------------------------------------------------------------- calls to one node

have_grpcurl() { command -v grpcurl >/dev/null; }

# call NODE METHOD JSON
call() { grpcurl -plaintext -d "$3" "$(address_of "$1")" "rosetta.v1.$2"; }

lists_services() { ! have_grpcurl || grpcurl -plaintext "$(address_of "$1")" list | grep -qx rosetta.v1.Pipelines; }
list() { if have_grpcurl; then call "$1" Pipelines/List '{}'; else docker exec "$1" rosetta status; fi; }
cluster() { if have_grpcurl; then call "$1" Cluster/Get '{}'; else docker exec "$1" rosetta nodes; fi; }
pause() { change "$1" Pipelines/Pause "{\"name\": \"$2\"}" pause "$2"; }
resume() { change "$1" Pipelines/Resume "{\"name\": \"$2\"}" resume "$2"; }
drain() { change "$1" Cluster/Drain "{\"node\": \"$2\"}" drain "$2" --timeout 0; }
undrain() { change "$1" Cluster/Undrain "{\"node\": \"$2\"}" undrain "$2"; }

# change NODE METHOD JSON COMMAND...: the call, or the command that does the same.
change() {
    local node=$1 method=$2 json=$3
    shift 3
    if have_grpcurl; then
        call "$node" "$method" "$json" >/dev/null
    else
        docker exec "$node" rosetta "$@" >/dev/null
    fi
}

# ---------------------------------------------------------------------------------------------- states

# The first columns of what a command prints as a table.
is_state() { docker exec "$1" rosetta status | awk -v name="$2" -v state="$3" '$1 == name && $2 == state { found = 1 } END { exit !found }'; }
is_state_of_node() { docker exec "$1" rosetta nodes | awk -v name="$2" -v state="$3" '$1 == name && $2 == state { found = 1 } END { exit !found }'; }
all_run() { [[ $(docker exec "${nodes[0]}" rosetta status | awk '$2 == "running"' | wc -l) == "$pipelines" ]]; }
all_run_without() { docker exec "${nodes[0]}" rosetta status | awk -v gone="$1" -v want="$pipelines" '$2 == "running" && $3 != gone { run++ } END { exit run != want }'; }
# Every node that runs has pipelines.
spread() { [[ $(docker exec "${nodes[0]}" rosetta status | awk '$2 == "running" { print $3 }' | sort -u | wc -l) == "${#nodes[@]}" ]]; }

are_ready() {
    local node
    mapfile -t nodes < <(node_containers)
    ((${#nodes[@]} == $1)) || return 1
    for node in "${nodes[@]}"; do
        docker exec "$node" rosetta health >/dev/null || return 1
    done
}

# wait_for WHAT SECONDS COMMAND...
wait_for() {
    local what=$1 limit=$2 began=$EPOCHREALTIME deadline=$((SECONDS + $2)) tenths
    shift 2
    until "$@" 2>"$log"; do
        ((SECONDS < deadline)) || die "not within $limit s: $what. $(tail -n 3 "$log")"
        sleep 0.1
    done
    tenths=$(((${EPOCHREALTIME/./} - ${began/./}) / 100000))
    ok "$what ($((tenths / 10)).$((tenths % 10)) s)"
}

# ------------------------------------------------------------------------------------------------ load

load() {
    docker exec "$source" pgbench -n -U postgres -c 2 -T "$load_seconds" -f /sample/load.sql shop >"$load_log" 2>&1 &
    load_pid=$!
}
end_load() {
    wait "$load_pid" || die "pgbench failed: $(tail -n 3 "$load_log")"
    load_pid=""
    echo "pgbench: $(sed -n 's/^number of transactions actually processed: //p' "$load_log") transactions"
}
is_written() { [[ $(docker exec "$source" psql -U postgres -d shop -Atc "SELECT count(*) FROM store_1.audit WHERE what = 'sent'") -gt 0 ]]; }

work=$(mktemp -d "${TMPDIR:-/tmp}/rosetta-compose-test.XXXXXX")
readonly work log=$work/log load_log=$work/load

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    set +e
    ((code == 0)) || compose logs --tail 20 node >&2
    [[ -z $load_pid ]] || kill "$load_pid" 2>/dev/null
    if $keep; then
        echo "left running; stop it with: COMPOSE_PROJECT_NAME=$COMPOSE_PROJECT_NAME ${compose_command[*]} down -v"
    else
        compose down -v --remove-orphans >/dev/null 2>&1
    fi
    rm -rf "$work"
    exit "$code"
}

main "$@"
