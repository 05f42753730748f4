#!/usr/bin/env bash
# Makes the images that docker-compose.yml needs from Debian packages and from this machine's own build, for where no
# image can be pulled. Packages come from where apt gets them. Quick when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

usage() {
    cat <<'USAGE'
usage: scripts/images.sh [--again]

  --again   make the images anew, with the newest packages

Writes into .env which images and which binary docker-compose.yml takes. It builds rosetta, too: run it again when the
code has changed. Without these lines in .env, images are pulled and rosetta is built in a container.

variables, with their defaults:
  ROSETTA_BIN   put this binary into the image instead of building one
USAGE
}

die() {
    printf 'images.sh: %s\n' "$*" >&2
    exit 1
}
say() { printf '== %s\n' "$*"; }

readonly prefix=rosetta-local
readonly binary=target/image/rosetta
again=false
work=""

# shellcheck source=scripts/throwaway.sh
. scripts/throwaway.sh

main() {
    local argument
    for argument in "$@"; do
        case $argument in
            --again) again=true ;;
            -h | --help) usage && exit 0 ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    docker info >/dev/null 2>&1 || die "the Docker engine does not answer; start it, or run this as a user who may use it"
    trap clean_up EXIT
    make_image base ca-certificates
    make_image postgres postgresql
    make_image etcd etcd-server,etcd-client
    make_image redis redis-server,redis-tools
    place_binary
    write_settings
    say "done; now: docker compose up --build (or docker-compose up --build)"
}

# make_image NAME PACKAGES: a minimal Debian with the packages, unless the image is there.
make_image() {
    local image=$prefix/$1 root
    if ! $again && docker image inspect "$image" >/dev/null 2>&1; then
        return
    fi
    prepare
    say "making $image"
    root=$work/$1
    debootstrap --variant=minbase --cache-dir="$work/packages" --include="$2" "$suite" "$root" "$mirror" \
        >"$work/$1.log" 2>&1 || die "debootstrap failed for $image: $(tail -n 3 "$work/$1.log")"
    "fill_$1" "$root"
    slim "$root"
    mapfile -t settings < <("settings_$1" "$root")
    tar -C "$root" --one-file-system --numeric-owner -c . |
        docker import "${settings[@]/#/--change=}" - "$image" >/dev/null || die "docker could not import $image"
    rm -rf "$root"
}

# ------------------------------------------------------------------------------------- what is in each

fill_base() { :; }
settings_base() { echo 'CMD ["bash"]'; }

fill_postgres() {
    # The package has made a cluster of its own; ours is made when the container starts first.
    rm -rf "$1"/var/lib/postgresql/*/main "$1"/etc/postgresql/*/main
    install -m 755 scripts/images/postgres-start.sh "$1/usr/local/bin/postgres-start"
    install -d -m 755 "$1/docker-entrypoint-initdb.d"
    chroot "$1" install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
    chroot "$1" install -d -o postgres -g postgres -m 2775 /var/run/postgresql
}
settings_postgres() {
    local bin
    bin=$(cd "$1" && printf '%s\n' usr/lib/postgresql/*/bin)
    cat <<SETTINGS
USER postgres
ENV PATH=/$bin:/usr/local/bin:/usr/bin:/bin
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["postgres-start"]
CMD ["postgres"]
SETTINGS
}

fill_etcd() { chroot "$1" install -d -o etcd -g etcd -m 700 /etcd-data; }
settings_etcd() {
    cat <<'SETTINGS'
USER etcd
VOLUME /etcd-data
CMD ["etcd"]
SETTINGS
}

fill_redis() { chroot "$1" install -d -o redis -g redis -m 700 /data; }
settings_redis() {
    cat <<'SETTINGS'
USER redis
WORKDIR /data
VOLUME /data
CMD ["redis-server", "--bind", "0.0.0.0"]
SETTINGS
}

# ---------------------------------------------------------------------------------------------- set-up

suite="" mirror=""
# What making an image needs: root, debootstrap, a folder, and where this machine gets its packages.
prepare() {
    [[ -z $work ]] || return 0
    ((EUID == 0)) || die "making an image needs root: run 'sudo scripts/images.sh'"
    command -v debootstrap >/dev/null || install_debootstrap
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mirror=$(mirror_of "$suite")
    [[ -n $mirror ]] || die "apt knows no source for '$suite' here; add it to its sources, then run 'apt-get update'"
    use_proxy http
    use_proxy https
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/rosetta-images.XXXXXX")
    # A root folder and its programs are to be readable by all.
    chmod 755 "$work"
    mkdir "$work/packages"
}

install_debootstrap() {
    say "installing debootstrap"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap; } \
        >/dev/null 2>&1 || die "apt-get could not install debootstrap; install it by hand, then run this again"
}

# mirror_of SUITE: where apt on this machine gets it.
mirror_of() {
    # shellcheck disable=SC2016  # apt-get replaces these, not the shell
    apt-get indextargets --no-release-info --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$1" '$1 == suite && $2 == "main" { print $3; exit }'
}

# use_proxy SCHEME: debootstrap asks the environment for what apt has in its configuration.
use_proxy() {
    local proxy=""
    eval "$(apt-config shell proxy "Acquire::$1::Proxy")"
    if [[ -n $proxy && $proxy != DIRECT ]]; then
        export "$1_proxy=$proxy"
    fi
}

# Nobody reads manuals in a container.
slim() {
    rm -rf "$1"/usr/share/{doc,man,info,locale}/* "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*
}

# --------------------------------------------------------------------------------------------- rosetta

place_binary() {
    find_rosetta
    mkdir -p "$(dirname "$binary")"
    cmp -s "$rosetta" "$binary" || cp "$rosetta" "$binary"
}

write_settings() {
    touch .env
    chmod 600 .env
    setting BUILD_IMAGE "$prefix/base"
    setting RUNTIME_IMAGE "$prefix/base"
    setting POSTGRES_IMAGE "$prefix/postgres"
    setting ETCD_IMAGE "$prefix/etcd"
    setting REDIS_IMAGE "$prefix/redis"
    setting ROSETTA_BINARY "$binary"
}

# setting NAME VALUE: a line of .env, put in the place of the one that is there.
setting() {
    sed -i "/^$1=/d" .env
    echo "$1=$2" >>.env
}

clean_up() {
    local code=$?
    [[ -z $work ]] || rm -rf "$work"
    exit "$code"
}

main "$@"
