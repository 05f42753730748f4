#!/usr/bin/env bash
# Checks docs/monitoring: Prometheus' configuration and rules are valid, each alert fires and clears in its test, has a
# section in the runbook, and asks for nothing but what docs/METRICS.md has; so do the dashboards. Needs promtool, which
# scripts/install.sh installs.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly folder=docs/monitoring rules=docs/monitoring/alerts.yml tests=docs/monitoring/alerts_test.yml

fail() {
    printf 'check-alerts.sh: %s\n' "$*" >&2
    exit 1
}

# Every rosetta_* and process_* word of the files is a metric; a histogram's series are named after it.
check_metrics() {
    local name
    grep -ohE '\b(rosetta|process)_[a-z_]+' "$@" | sed -E 's/_(bucket|sum|count)$//' | sort -u | while read -r name; do
        grep -q "^| \`$name\` |" docs/METRICS.md || fail "$name is no metric of docs/METRICS.md"
    done
}

command -v promtool >/dev/null 2>&1 || fail "promtool is missing; run scripts/install.sh"
promtool check config --syntax-only "$folder/prometheus.yml"
promtool check rules "$rules"
promtool test rules "$tests"

mapfile -t alerts < <(sed -nE 's/^ *- alert: //p' "$rules")
for alert in "${alerts[@]}"; do
    grep -q "^  - name: $alert\$" "$tests" || fail "$alert has no test in $tests"
done
mapfile -t anchors < <(sed -nE 's|^ *runbook_url: docs/RUNBOOK.md#||p' "$rules")
for anchor in "${anchors[@]}"; do
    grep -qix "### $anchor" docs/RUNBOOK.md || fail "docs/RUNBOOK.md has no section '$anchor'"
done
check_metrics "$rules"
for dashboard in "$folder"/grafana/*.json; do
    jq -e '.panels | length > 0' "$dashboard" >/dev/null || fail "$dashboard is no dashboard"
done
check_metrics "$folder"/grafana/*.json
echo "check-alerts.sh: all is well"
