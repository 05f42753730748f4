-- What was asked for, and what happened.

create table rosetta.requests (
    id text primary key,
    fingerprint text not null,
    answer jsonb not null,
    at timestamptz not null default now()
);
create index on rosetta.requests (at);
comment on table rosetta.requests is 'Changes asked for with a request id, kept for two days, so that a repeated one does nothing';

create table rosetta.events (
    id bigint generated always as identity primary key,
    -- Given by the writer, so that an event whose insert was not answered is not written twice.
    token bigint not null unique,
    at timestamptz not null,
    kind text not null,
    pipeline text,
    node text,
    requested_by text,
    detail jsonb not null default '{}'
);
create index on rosetta.events (pipeline, id);
create index on rosetta.events (at);
