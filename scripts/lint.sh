#!/usr/bin/env bash
# Formatting and lints; both must be clean.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
