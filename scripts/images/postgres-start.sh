#!/usr/bin/env bash
# Starts PostgreSQL in the image that scripts/images.sh makes. It understands what docker-compose.yml uses of the public
# image: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, and SQL files in /docker-entrypoint-initdb.d.
set -euo pipefail

readonly user=${POSTGRES_USER:-postgres}
readonly database=${POSTGRES_DB:-$user}

main() {
    if [[ "$1" == postgres && ! -s $PGDATA/PG_VERSION ]]; then
        create
    fi
    exec "$@"
}

# Made aside, and the file that says "complete" is moved last: an interrupted first start begins anew.
create() {
    local new=$PGDATA/new file
    [[ -n ${POSTGRES_PASSWORD:-} ]] || { echo "postgres-start: POSTGRES_PASSWORD must be set" >&2 && exit 1; }
    find "$PGDATA" -mindepth 1 -delete
    initdb -D "$new" --username="$user" --pwfile=<(printf '%s' "$POSTGRES_PASSWORD") --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-sync
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$new/postgresql.conf"
    # By a socket only: nobody else is to see it half made.
    pg_ctl -D "$new" -o "-c listen_addresses=''" -w start
    [[ $database == postgres ]] || sql postgres -c "CREATE DATABASE \"$database\""
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [[ ! -e $file ]] || sql "$database" -f "$file"
    done
    pg_ctl -D "$new" -m fast -w stop
    find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync
    mv "$new/PG_VERSION" "$PGDATA"/
    rmdir "$new"
}

sql() {
    local name=$1
    shift
    psql -X -q -v ON_ERROR_STOP=1 -U "$user" -d "$name" "$@"
}

main "$@"
