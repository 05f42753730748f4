#!/usr/bin/env bash
# Runs what operators monitor with, as they wrote it, against the cluster that scripts/cluster.sh runs, and checks the
# answers: slots, connections (fewer than 70), dead letters, metrics of every node. Changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

readonly most_connections=70
work=${CLUSTER_DIR:-${TMPDIR:-/tmp}/rosetta-cluster}
failures=0

die() {
    printf 'check-monitoring.sh: %s\n' "$*" >&2
    exit 1
}
# check WHAT ANSWER TEST...
check() {
    local what=$1 answer=$2
    shift 2
    if "$@"; then
        printf 'ok      %s: %s\n' "$what" "$answer"
    else
        printf 'FAILED  %s: %s\n' "$what" "$answer"
        failures=$((failures + 1))
    fi
}
sql() { psql -XqAt -h 127.0.0.1 -U postgres "$@"; }
# sum METRIC: over all nodes.
sum() { awk -v name="$1" '$1 == name || index($1, name "{") == 1 { total += $2 } END { print total + 0 }' <<<"$metrics"; }

[[ -e $work/ports ]] || die "no cluster in $work; scripts/cluster.sh up --sample starts one"
# shellcheck source=/dev/null
. "$work/ports"
source_port=${SHOP_ADDRESS##*:} destination_port=${MIRROR_ADDRESS##*:} redis_port=${ROSETTA_REDIS_URL##*:}

metrics=""
for node in "$work"/node-*/ports; do
    read -r _ http <"$node"
    answer=$(curl -sf --max-time 5 "http://127.0.0.1:$http/metrics") || die "no metrics on port $http: does $(dirname "$node") run?"
    metrics+=$answer$'\n'
done
expected=$(sum rosetta_pipelines_expected) up=$(sum rosetta_pipeline_up)
check "one leader" "$(sum rosetta_node_leader)" test "$(sum rosetta_node_leader)" = 1
check "pipelines up / expected" "$up / $expected" test "$up" = "$expected" -a "$expected" -gt 0
check "pipelines without a node" "$(sum rosetta_pipelines_unowned)" test "$(sum rosetta_pipelines_unowned)" = 0
check "memory of all nodes" "$(sum process_resident_memory_bytes)" test "$(sum process_resident_memory_bytes)" != 0
check "processor time of all nodes" "$(sum process_cpu_seconds_total)" test "$(sum process_cpu_seconds_total)" != 0
check "calls that wait for the config database" "$(sum rosetta_catalog_pool_waiters)" \
    test "$(sum rosetta_catalog_pool_waiters)" -le 100

slots=$(sql -p "$source_port" -d shop -c "SELECT slot_name, active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) AS retained_wal FROM pg_replication_slots WHERE slot_name LIKE 'rosetta_%' ORDER BY retained_wal DESC;")
check "slots" "$(wc -l <<<"$slots")" test "$(wc -l <<<"$slots")" -ge "$expected"
check "active slots" "$(grep -c '|t|' <<<"$slots")" test "$(grep -c '|t|' <<<"$slots")" -ge "$up"

connections=$(sql -p "$ROSETTA_DB_PORT" -d rosetta -c "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rosetta%';")
check "connections to the config database" "$connections" test "$connections" -gt 0 -a "$connections" -lt "$most_connections"
for port in "$source_port" "$destination_port"; do
    count=$(sql -p "$port" -d shop -c "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rosetta%';")
    check "connections to 127.0.0.1:$port" "$count" test "$count" -lt "$most_connections"
done
names=$(PGHOST=127.0.0.1 PGUSER=postgres PGPORT=$ROSETTA_DB_PORT \
    psql -d rosetta -c "SELECT count(*), application_name FROM pg_stat_activity GROUP BY application_name;")
check "application names" "$(grep -o 'rosetta[a-z-]*' <<<"$names" | sort -u | paste -sd ' ')" grep -q rosetta <<<"$names"

redis-cli() { command redis-cli -p "$redis_port" "$@"; }
letters=$(redis-cli XLEN rosetta:dlq:pipeline_store_1:destination_mirror:table_store_1.orders)
check "dead letters of one table" "$letters" test "$letters" -ge 0
total=$(redis-cli --scan --pattern "rosetta:dlq:*" | xargs -I {} redis-cli -p "$redis_port" XLEN {} |
    awk '{ total += $1 } END { print total + 0 }')
check "dead letters in Redis, and by the metrics" "$total, $(sum rosetta_pipeline_dead_letters)" \
    test "$total" = "$(sum rosetta_pipeline_dead_letters)"

((failures == 0)) || die "$failures answers are not as they should be"
echo "check-monitoring.sh: all is well"
