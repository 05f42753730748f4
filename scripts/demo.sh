#!/usr/bin/env bash
# Shows Rosetta at work: two throwaway PostgreSQL servers, pgbench on one, an exact live copy in the other.
# Needs Rust; installs the rest. Leaves nothing behind, unless it is told to with --keep.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

usage() {
    cat <<'USAGE'
usage: scripts/demo.sh [--keep]

  --keep   leave the two servers and rosetta running for a look around

variables, with their defaults:
  DEMO_SECONDS=15   how long the load runs
  DEMO_SCALE=10     size of the first copy, in 100,000 rows
  PGBIN             folder of initdb and postgres; the newest that is installed
  ROSETTA_BIN       run this binary instead of building one
USAGE
}

readonly clients=4
readonly start_deadline=60 catch_up_deadline=120
seconds=${DEMO_SECONDS:-15}
scale=${DEMO_SCALE:-10}
keep=false

work=""
rosetta_pid="" load_pid=""
source_port="" mirror_port=""
peak=0
began=0

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'demo.sh: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=scripts/throwaway.sh
. scripts/throwaway.sh

main() {
    read_arguments "$@"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    install_and_build
    start_servers
    fill_source
    start_rosetta
    first_copy
    load
    catch_up
    compare
    summary
    if $keep; then
        invite
    fi
}

read_arguments() {
    local argument
    for argument in "$@"; do
        case $argument in
            --keep) keep=true ;;
            -h | --help) usage && exit 0 ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "DEMO_SECONDS=$seconds is not a number of seconds"
    [[ $scale =~ ^[1-9][0-9]*$ ]] || die "DEMO_SCALE=$scale is not a whole number"
}

# ---------------------------------------------------------------------------------------------- set-up

install_and_build() {
    scripts/install.sh
    find_servers
    find_rosetta
    began=${EPOCHREALTIME/./}
    work=$(mktemp -d "${TMPDIR:-/tmp}/rosetta-demo.XXXXXX")
    chmod 755 "$work"
}

start_servers() {
    say "Starting two PostgreSQL servers ($("$pgbin/postgres" --version)) in $work"
    create_server source &
    create_server mirror
    wait $!
    start_server source source_port
    start_server mirror mirror_port
    psql_at "$source_port" postgres -c 'CREATE DATABASE shop' >/dev/null
    psql_at "$mirror_port" postgres -c 'CREATE DATABASE shop' >/dev/null
    echo "source: $(url "$source_port")"
    echo "mirror: $(url "$mirror_port")"
}

at_source() { psql_at "$source_port" shop -c "$1"; }
url() { echo "postgres://postgres@127.0.0.1:$1/shop"; }

fill_source() {
    say "Filling the source with pgbench, $((scale * 100000)) accounts"
    pgbench -i -s "$scale" --quiet -h 127.0.0.1 -p "$source_port" -U postgres shop >"$work/pgbench-init.log" 2>&1 ||
        die "pgbench failed: $(tail -n 3 "$work/pgbench-init.log")"
    # Without a key, a row can only be told apart as a whole.
    at_source 'ALTER TABLE pgbench_history REPLICA IDENTITY FULL'
    echo "done"
}

start_rosetta() {
    say "Starting rosetta with this file"
    cat >"$work/rosetta.toml" <<CONFIG
[[source]]
name = "shop"
url = "$(url "$source_port")"

[[destination]]
name = "mirror"
kind = "postgres"
url = "$(url "$mirror_port")"

[[pipeline]]
name = "demo"
source = "shop"
destinations = ["mirror"]
tables = ["public.*"]
CONFIG
    cat "$work/rosetta.toml"
    # A session of its own, so that it outlives this script with --keep.
    setsid "$rosetta" standalone --config "$work/rosetta.toml" --data-dir "$work/rosetta" --progress 0 \
        </dev/null >"$work/rosetta.log" 2>&1 &
    rosetta_pid=$!
}

# -------------------------------------------------------------------------------------------- watching

# Waits for the next status that rosetta writes (each second) and reads it into the variables below.
state="" error="" rows_copied=0 changes=0 lag_bytes=0 lag_ms=0 latency_p50_ms="" latency_p99_ms=""
per_second=0 rows_per_second=0
status_time=0
next_status() {
    local file=$work/rosetta/status.json time=$status_time deadline=$((SECONDS + 10)) text
    while [[ $time == "$status_time" ]]; do
        kill -0 "$rosetta_pid" 2>/dev/null || die "rosetta ended: $(tail -n 3 "$work/rosetta.log")"
        ((SECONDS < deadline)) || die "rosetta wrote no status for 10 s; its log is: $(tail -n 3 "$work/rosetta.log")"
        sleep 0.05
        time=$(stat -c %.3Y "$file" 2>/dev/null || echo "$status_time")
    done
    text=$("$rosetta" status --output json --data-dir "$work/rosetta")
    local changes_before=$changes rows_before=$rows_copied milliseconds=$((10#${time/./} - 10#${status_time/./}))
    state=$(field state "$text") error=$(field error "$text")
    rows_copied=$(field rows_copied "$text") changes=$(field changes "$text")
    lag_bytes=$(field lag_bytes "$text") lag_ms=$(field lag_ms "$text")
    latency_p50_ms=$(field latency_p50_ms "$text") latency_p99_ms=$(field latency_p99_ms "$text")
    per_second=0 rows_per_second=0
    if [[ $status_time != 0 ]] && ((milliseconds > 0)); then
        per_second=$(((changes - changes_before) * 1000 / milliseconds))
        rows_per_second=$(((rows_copied - rows_before) * 1000 / milliseconds))
    fi
    # The end of a COPY is counted for a moment, too.
    ((rows_per_second >= 0)) || rows_per_second=0
    status_time=$time
    ((per_second <= peak)) || peak=$per_second
    case $state in
        failed | needs_resync | retrying) die "the pipeline is $state: $error" ;;
    esac
}

# field NAME TEXT: a field of the one pipeline in the JSON, which has a line for each.
field() { sed -n "s/^ *\"$1\": \"\{0,1\}\(.*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" <<<"$2"; }

copy_header() { printf '%7s  %-8s  %12s  %10s\n' seconds state 'rows copied' rows/s; }
copy_line() { printf '%7s  %-8s  %12s  %10s\n' "$(elapsed)" "$state" "$(grouped "$rows_copied")" "$(grouped "$rows_per_second")"; }
load_header() { printf '%7s  %-8s  %10s  %10s  %12s  %8s\n' seconds state changes changes/s 'lag bytes' 'lag ms'; }
load_line() {
    printf '%7s  %-8s  %10s  %10s  %12s  %8s\n' "$(elapsed)" "$state" "$(grouped "$changes")" \
        "$(grouped "$per_second")" "$(grouped "$lag_bytes")" "$(grouped "$lag_ms")"
}

# Since the build, in seconds with one decimal.
elapsed() {
    local tenths=$(((${EPOCHREALTIME/./} - began) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# 1234567 as 1,234,567.
grouped() { sed -e ':again' -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/' -e 't again' <<<"$1"; }

first_copy() {
    say "First copy"
    copy_header
    local deadline=$((SECONDS + start_deadline))
    until [[ $state == running ]]; do
        next_status
        copy_line
        ((SECONDS < deadline)) || die "the first copy takes longer than $start_deadline s; try a smaller DEMO_SCALE"
    done
}

load() {
    say "Load: pgbench, $clients clients, $seconds s"
    load_header
    pgbench -n -c "$clients" -j 2 -T "$seconds" -h 127.0.0.1 -p "$source_port" -U postgres shop >"$work/pgbench.log" 2>&1 &
    load_pid=$!
    while kill -0 "$load_pid" 2>/dev/null; do
        next_status
        load_line
    done
    wait "$load_pid" || die "pgbench failed: $(tail -n 3 "$work/pgbench.log")"
    load_pid=""
    echo "pgbench: $(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/pgbench.log") transactions/s of 4 row changes each"
}

catch_up() {
    say "Load stopped; waiting until the mirror has everything, on disk"
    local position stopped=$EPOCHREALTIME deadline=$((SECONDS + catch_up_deadline))
    position=$(at_source 'SELECT pg_current_wal_insert_lsn()')
    # A message in the log makes rosetta confirm its position at once, also when the source is at rest.
    at_source "SELECT pg_logical_emit_message(true, 'demo', 'end of load')" >/dev/null
    until [[ $(at_source "SELECT confirmed_flush_lsn >= '$position' FROM pg_replication_slots WHERE slot_name = 'rosetta_demo'") == t ]]; do
        kill -0 "$rosetta_pid" 2>/dev/null || die "rosetta ended: $(tail -n 3 "$work/rosetta.log")"
        ((SECONDS < deadline)) || die "not caught up within $catch_up_deadline s; the log is $(tail -n 3 "$work/rosetta.log")"
        sleep 0.05
    done
    local now=$EPOCHREALTIME
    echo "caught up after $(((${now/./} - ${stopped/./}) / 1000)) ms, at $position"
}

compare() {
    say "rosetta verify: every row of both sides"
    "$rosetta" verify --config "$work/rosetta.toml" || die "the mirror is not equal"
}

summary() {
    next_status # the first that was written after the last change
    next_status
    local memory
    memory=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$rosetta_pid/status")
    say "Summary"
    printf '%-22s %s\n' \
        'rows copied' "$(grouped "$rows_copied")" \
        'changes replicated' "$(grouped "$changes")" \
        'latency p50 / p99' "$latency_p50_ms ms / $latency_p99_ms ms   (commit at the source to commit at the mirror)" \
        'peak' "$(grouped "$peak") changes/s" \
        'peak memory' "$((memory / 1024)) MB   (rosetta)" \
        'verified' 'equal' \
        'time' "$(elapsed) s"
}

# ----------------------------------------------------------------------------------------------- ending

invite() {
    {
        echo '#!/usr/bin/env bash'
        echo '# Stops what scripts/demo.sh --keep left running, and removes it.'
        # The process may have ended, and its number be another's now.
        echo "is_running() { grep -qs '$work' /proc/$rosetta_pid/cmdline; }"
        echo "is_running && kill $rosetta_pid"
        echo 'while is_running; do sleep 0.05; done'
        local server
        for server in source mirror; do
            printf '(cd / && %s)\n' "$(printf '%q ' "${as_server_user[@]}" "$pgbin/pg_ctl" -D "$work/$server/data" -m immediate stop)"
        done
        printf 'rm -rf %q\n' "$work"
    } >"$work/stop.sh"
    chmod 755 "$work/stop.sh"
    say "Still running"
    cat <<INVITE
Change something at the source, and see it at the mirror:
  psql $(url "$source_port") -c "UPDATE pgbench_branches SET bbalance = 42 WHERE bid = 1"
  psql $(url "$mirror_port") -c "SELECT * FROM pgbench_branches WHERE bid = 1"
Load it again:
  pgbench -n -c 4 -T 30 -h 127.0.0.1 -p $source_port -U postgres shop
Ask rosetta:
  $rosetta status --data-dir $work/rosetta
  $rosetta verify --config $work/rosetta.toml
See the slot at the source and the checkpoint at the mirror:
  psql $(url "$source_port") -c "SELECT slot_name, active, confirmed_flush_lsn FROM pg_replication_slots"
  psql $(url "$mirror_port") -c "SELECT pipeline, epoch, phase, commit_lsn FROM rosetta.checkpoint"
Log: $work/rosetta.log

Stop all of it, and remove it:
  $work/stop.sh
INVITE
}

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    set +e
    [[ -n $load_pid ]] && kill "$load_pid" 2>/dev/null
    if $keep && ((code == 0)); then
        exit 0
    fi
    [[ -n $rosetta_pid ]] && kill "$rosetta_pid" 2>/dev/null && wait "$rosetta_pid" 2>/dev/null
    local server
    for server in source mirror; do
        stop_server "$server"
    done
    [[ -n $work ]] && rm -rf "$work"
    exit "$code"
}

main "$@"
