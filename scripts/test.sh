#!/usr/bin/env bash
# Every test, real servers included. Installs what is missing. Arguments go to the test runner, e.g. a test's name.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh
scripts/check-alerts.sh
cargo build --workspace --all-targets

if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --workspace "$@"
fi
# Scenarios start two servers each, so a small machine must not run many at once (.config/nextest.toml does the same).
exec cargo test --workspace "$@" -- --test-threads "${TEST_THREADS:-4}"
