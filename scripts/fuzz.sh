#!/usr/bin/env bash
# Fuzzes what reads bytes from outside: each target for some seconds (60 unless told), one after the other.
#   scripts/fuzz.sh [SECONDS] [TARGET...]
# New inputs go to fuzz/corpus, one that fails to fuzz/artifacts; neither is committed. fuzz/seeds is.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    echo "fuzz.sh: $*" >&2
    exit 1
}

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "'$seconds' is not a number of seconds; usage: scripts/fuzz.sh [SECONDS] [TARGET...]"
targets=("${@:2}")
((${#targets[@]})) || targets=(pgoutput frames config)
for target in "${targets[@]}"; do
    [[ -f fuzz/fuzz_targets/$target.rs ]] || die "there is no target '$target'; there are pgoutput, frames and config"
done

scripts/install.sh
cargo +nightly --version >/dev/null 2>&1 ||
    die "fuzzing needs Rust's nightly toolchain, which is not here: rustup toolchain install nightly --profile minimal"
command -v c++ >/dev/null 2>&1 || die "fuzzing needs a C++ compiler, which is not here: apt-get install g++"
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz.sh: installing cargo-fuzz" >&2
    cargo install --locked cargo-fuzz
fi

for target in "${targets[@]}"; do
    echo "fuzz.sh: $target, $seconds s"
    mkdir -p "fuzz/corpus/$target"
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -print_final_stats=1
done
