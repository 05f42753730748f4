# shellcheck shell=bash
# The cluster of docker-compose.yml, for scripts that source this. They have `die`.

# docker compose (2), or docker-compose (1.29).
find_compose() {
    if docker compose version >/dev/null 2>&1; then
        compose_command=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose_command=(docker-compose)
    else
        die "neither 'docker compose' nor 'docker-compose' is here; install one of them"
    fi
}
compose() { "${compose_command[@]}" "$@"; }

# The containers of nodes that run, by the ids that are their host names and so their nodes' ids.
node_containers() { compose ps -q node | xargs -r docker inspect --format '{{.State.Running}} {{.Config.Hostname}}' | sed -n 's/^true //p'; }

# address_of CONTAINER: where this machine reaches the node's gRPC. It changes when the container starts again.
address_of() { docker port "$1" 50051/tcp | head -n 1; }
