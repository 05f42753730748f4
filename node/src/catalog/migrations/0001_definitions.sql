-- What is wanted: sources, destinations and pipelines. Operators may change all of it by plain SQL: revisions and
-- notifications come from triggers, so that they do not depend on who writes.

create sequence rosetta.revision as bigint;

create table rosetta.sources (
    name text primary key,
    url text not null,
    revision bigint not null default nextval('rosetta.revision'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on column rosetta.sources.url is 'postgres://..., its password encrypted: rosetta secrets rotate encrypts a plain one';

create table rosetta.destinations (
    name text primary key,
    kind text not null,
    url text,
    revision bigint not null default nextval('rosetta.revision'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table rosetta.pipelines (
    name text primary key,
    definition jsonb not null,
    revision bigint not null default nextval('rosetta.revision'),
    status text not null default 'START' constraint status_is_start_or_pause check (status in ('START', 'PAUSE')),
    pin text,
    restarts bigint not null default 0 constraint restarts_is_not_negative check (restarts >= 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on column rosetta.pipelines.definition is 'The keys of [[pipeline]] of a definitions file, without the name';
comment on column rosetta.pipelines.status is 'What is wanted: START or PAUSE. Takes effect at once';
comment on column rosetta.pipelines.pin is 'The only node on which it may run; null for any';
comment on column rosetta.pipelines.restarts is 'Add 1 to restart it';

-- Encrypting anew changes no definition, and must restart nothing: see catalog/rotate.rs.
create function rosetta.touch() returns trigger language plpgsql as $$
declare
    aside constant text[] := array['revision', 'status', 'pin', 'restarts', 'created_at', 'updated_at'];
begin
    new.updated_at := now();
    if coalesce(current_setting('rosetta.rotating', true), '') <> 'on'
        and to_jsonb(new) - aside is distinct from to_jsonb(old) - aside then
        new.revision := nextval('rosetta.revision');
    end if;
    return new;
end $$;

create trigger touch before update on rosetta.sources for each row execute function rosetta.touch();
create trigger touch before update on rosetta.destinations for each row execute function rosetta.touch();
create trigger touch before update on rosetta.pipelines for each row execute function rosetta.touch();

-- A pipeline is defined by its source and destinations, too.
create function rosetta.source_changed() returns trigger language plpgsql as $$
begin
    update rosetta.pipelines set revision = nextval('rosetta.revision') where definition ->> 'source' = new.name;
    return null;
end $$;

create function rosetta.destination_changed() returns trigger language plpgsql as $$
begin
    update rosetta.pipelines set revision = nextval('rosetta.revision') where definition -> 'destinations' ? new.name;
    return null;
end $$;

create trigger pipelines after update on rosetta.sources for each row
    when (new.revision <> old.revision) execute function rosetta.source_changed();
create trigger pipelines after update on rosetta.destinations for each row
    when (new.revision <> old.revision) execute function rosetta.destination_changed();

create function rosetta.notify_change() returns trigger language plpgsql as $$
begin
    perform pg_notify('rosetta_catalog', tg_table_name);
    return null;
end $$;

create trigger notify after insert or update or delete or truncate on rosetta.sources
    for each statement execute function rosetta.notify_change();
create trigger notify after insert or update or delete or truncate on rosetta.destinations
    for each statement execute function rosetta.notify_change();
create trigger notify after insert or update or delete or truncate on rosetta.pipelines
    for each statement execute function rosetta.notify_change();
