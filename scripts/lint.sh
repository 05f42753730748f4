#!/usr/bin/env bash
# Formatting and lints, of the scripts, too; all must be clean.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
shellcheck -x scripts/*.sh scripts/*/*.sh .ci/run
