#!/usr/bin/env bash
# Installs what the build and the tests need and this machine does not have. Silent when nothing is missing.
set -euo pipefail

missing=()

have_server() {
    local bin
    for bin in "${PGBIN:-}" /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null || true)"; do
        [[ -x "$bin/initdb" && -x "$bin/postgres" ]] && return 0
    done
    return 1
}

have() { command -v "$1" >/dev/null 2>&1; }

have_server || missing+=(postgresql postgresql-contrib)
have psql || missing+=(postgresql-client)
have pgbench || missing+=(postgresql-contrib)
have cc || missing+=(gcc libc6-dev)
have setpriv || missing+=(util-linux)
# The etcd client compiles its own .proto files, which needs the compiler and Google's common ones.
{ have protoc && [[ -e /usr/include/google/protobuf/descriptor.proto ]]; } || missing+=(protobuf-compiler libprotobuf-dev)
have etcd || missing+=(etcd-server)
have etcdctl || missing+=(etcd-client)
have redis-server || missing+=(redis-server)
have promtool || missing+=(prometheus)
have jq || missing+=(jq)
have shellcheck || missing+=(shellcheck)

if ! have cargo; then
    echo "install.sh: Rust is missing. Install it from https://rustup.rs, then run this again." >&2
    exit 1
fi

((${#missing[@]} == 0)) && exit 0

echo "install.sh: missing here: ${missing[*]}" >&2
if ! have apt-get; then
    echo "install.sh: this is not a Debian system. Install these with your package manager (PostgreSQL 14 or newer," >&2
    echo "  server, contrib and client; a C compiler), or set PGBIN to the folder of initdb, then run this again." >&2
    exit 1
fi

as_root=()
if ((EUID != 0)); then
    if ! have sudo; then
        echo "install.sh: needs root. Run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }
install() { apt install -y --no-install-recommends "${missing[@]}"; }

echo "install.sh: installing with apt-get" >&2
if ! install >/dev/null 2>&1; then
    apt update >/dev/null || true
    if ! install >&2; then
        echo "install.sh: apt-get could not install ${missing[*]}. Check its sources and the network, then run this again." >&2
        exit 1
    fi
fi
echo "install.sh: done" >&2
