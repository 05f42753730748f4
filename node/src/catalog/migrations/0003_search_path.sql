-- Operators write `update pipelines set status = 'PAUSE'`, without the schema. A setting that somebody made stays.

do $$
begin
    if exists (
        select from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) setting
        where d.datname = current_database() and s.setrole = 0 and setting like 'search_path=%'
    ) then
        return;
    end if;
    execute format('alter database %I set search_path = "$user", public, rosetta', current_database());
exception when insufficient_privilege then
    -- Not the database's owner: at least for the own role.
    execute format('alter role current_user in database %I set search_path = "$user", public, rosetta', current_database());
end $$;
