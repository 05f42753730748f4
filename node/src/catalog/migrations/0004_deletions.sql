-- Pipelines that are no longer defined, and of which something is still at their source or destinations.

create table rosetta.deletions (
    pipeline text primary key,
    definition jsonb not null,
    at timestamptz not null default now()
);
comment on table rosetta.deletions is 'Deleted pipelines whose slots are still to be dropped; the leader takes a row away when that is done';
