# shellcheck shell=bash
# What scripts with throwaway servers share. They source it, and have `say`, `die`, and `work`, the folder of it all.
# shellcheck disable=SC2154

rosetta="" pgbin=""
as_server_user=()

# Installs what is missing, and builds rosetta, unless ROSETTA_BIN names a binary.
find_rosetta() {
    rosetta=${ROSETTA_BIN:-}
    if [[ -z $rosetta ]]; then
        scripts/install.sh
        say "Building (the first time takes minutes)"
        cargo build --release --bin rosetta
        rosetta=$(target_folder)/release/rosetta
    fi
    [[ -x $rosetta ]] || die "'$rosetta' is not a program"
    rosetta=$(realpath "$rosetta")
}

target_folder() {
    cargo metadata --no-deps --offline --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# Finds the programs, and the user that may run them.
find_servers() {
    pgbin=$(find_pgbin)
    if ((EUID == 0)); then
        # PostgreSQL refuses to run as root.
        id postgres >/dev/null 2>&1 || die "run as root, this needs the user 'postgres'; create it, or run as another user"
        as_server_user=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
    fi
}

find_pgbin() {
    local bin
    for bin in "${PGBIN:-}" $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5nr) "$(pg_config --bindir 2>/dev/null || true)"; do
        [[ -x $bin/initdb && -x $bin/pg_ctl ]] && printf '%s' "$bin" && return
    done
    die "no PostgreSQL server found; set PGBIN to the folder of initdb and pg_ctl"
}

# create_server NAME [SETTING...]: settings are lines of postgresql.conf.
create_server() {
    local folder=$work/$1
    mkdir "$folder"
    ((EUID == 0)) && chown postgres "$folder"
    server_program initdb -D "$folder/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync \
        >"$work/$1.initdb.log" 2>&1 || die "initdb failed: $(tail -n 3 "$work/$1.initdb.log")"
    # What they hold is thrown away, so they need not wait for the disk.
    cat >>"$folder/data/postgresql.conf" <<SETTINGS
wal_level = logical
fsync = off
full_page_writes = off
shared_buffers = 128MB
max_wal_size = 4GB
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder'
SETTINGS
    printf '%s\n' "${@:2}" >>"$folder/data/postgresql.conf"
}

# start_server NAME PORT_VARIABLE
start_server() {
    local -n chosen=$2
    local folder=$work/$1 attempt
    for attempt in 1 2 3 4 5; do
        chosen=$(free_port)
        if server_program pg_ctl -D "$folder/data" -l "$folder/server.log" -o "-p $chosen" -w -t 30 start >/dev/null 2>&1; then
            return
        fi
        # Somebody else may have taken the port meanwhile; anything else will not go away.
        grep -q 'Address already in use' "$folder/server.log" || break
    done
    die "the server '$1' does not start (try $attempt): $(tail -n 3 "$folder/server.log" 2>&1)"
}

# stop_server NAME: at once; what it holds is thrown away.
stop_server() {
    if [[ -n $work && -f $work/$1/data/postmaster.pid ]]; then
        server_program pg_ctl -D "$work/$1/data" -m immediate stop >/dev/null 2>&1
    fi
}

# Below the range that the kernel gives to outgoing connections.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((15000 + RANDOM % 17000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port between 15000 and 32000"
}

server_program() {
    local program=$1
    shift
    (cd / && exec "${as_server_user[@]}" "$pgbin/$program" "$@")
}

psql_at() {
    local port=$1 database=$2
    shift 2
    psql -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres -d "$database" "$@"
}
