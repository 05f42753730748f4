//! Changes that are made to tell an exact copy from one that is nearly so.

use rosetta_tests::{DB, Pair, SOON, Table, eventually};

/// A pair whose pipeline follows all tables of `public` that `schema` makes.
struct Followed {
    /// First, so that its log is still there when it is dropped.
    _rosetta: rosetta_tests::Rosetta,
    pair: Pair,
    tables: Vec<Table>,
}

impl Followed {
    async fn start(schema: &str, tables: &[&str]) -> Followed {
        Followed::between(schema, "", tables).await
    }

    /// With something at the destination beforehand.
    async fn between(schema: &str, destination: &str, tables: &[&str]) -> Followed {
        let pair = Pair::start().await;
        pair.source.sql(DB, schema).await;
        pair.destination.sql(DB, destination).await;
        let rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
        let tables = Table::all(tables);
        pair.settle(&tables).await;
        Followed { pair, tables, _rosetta: rosetta }
    }

    /// Each element is one transaction; then both sides must be equal, with nothing missed on the way.
    async fn change(&self, transactions: &[&str]) {
        for transaction in transactions {
            self.pair.source.sql(DB, &format!("begin; {transaction}; commit")).await;
        }
        self.pair.settle(&self.tables).await;
    }

    /// The same in one batch: while the destination's table is locked, everything gathers.
    async fn change_in_one_batch(&self, table: &str, transactions: &[&str]) {
        let destination = self.pair.destination.client(DB).await;
        let lock = format!("begin; lock table {table} in share row exclusive mode");
        destination.batch_execute(&lock).await.expect("lock the table");
        self.pair.source.sql(DB, &format!("begin; {}; commit", transactions[0])).await;
        let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        eventually(SOON, "the first batch waits", async || match self.pair.destination.value(DB, blocked).await {
            count if count == "0" => Err("nothing waits".to_owned()),
            _ => Ok(()),
        })
        .await;
        for transaction in &transactions[1..] {
            self.pair.source.sql(DB, &format!("begin; {transaction}; commit")).await;
        }
        destination.batch_execute("commit").await.expect("unlock the table");
        self.pair.settle(&self.tables).await;
    }
}

/// With a table whose type has no binary form that is exact, all tables of the pipeline travel as text.
const AS_TEXT: &str = "create table as_text (id int primary key, x xml);";

#[tokio::test]
async fn one_key_that_dies_and_comes_again_with_unchanged_toast() {
    unchanged_toast("").await;
}

#[tokio::test]
async fn one_key_that_dies_and_comes_again_as_text() {
    unchanged_toast(AS_TEXT).await;
}

async fn unchanged_toast(more: &str) {
    let schema = "create table t (id int primary key, n int, big text, other text);
        alter table t alter big set storage external; alter table t alter other set storage external;
        insert into t select i, 0, repeat('a' || i, 5000), repeat('b' || i, 5000) from generate_series(1, 9) i;";
    let followed = Followed::start(&format!("{more}{schema}"), &["public.t"]).await;
    let transactions = [
        "update t set n = 1 where id = 9",
        "update t set n = 1 where id = 1; delete from t where id = 1; insert into t values (1, 2, repeat('x', 9000), null); update t set n = 3 where id = 1",
        "delete from t where id = 2; insert into t values (2, 5, repeat('y', 9000), repeat('z', 9000))",
        "update t set n = 6 where id = 2; update t set big = 'short' where id = 2; update t set n = 7 where id = 2",
        "update t set id = 30, n = 8 where id = 3; update t set n = 9 where id = 30; update t set id = 3 where id = 30",
        "update t set id = 40 where id = 4; insert into t values (4, 1, 'new', repeat('q', 9000)); update t set n = 2 where id = 40",
        "update t set other = repeat('w', 9000) where id = 5; update t set n = 11 where id = 5; update t set id = 50 where id = 5; update t set n = 12 where id = 50; delete from t where id = 50",
        "update t set big = null where id = 6; update t set big = repeat('v', 9000) where id = 6; update t set n = 1 where id = 6",
        "insert into t values (60, 1, repeat('u', 9000), null); update t set n = 2 where id = 60; update t set other = big where id = 60; update t set n = 3 where id = 60",
    ];
    followed.change_in_one_batch("t", &transactions).await;
    followed.change(&transactions[4..5]).await;
}

#[tokio::test]
async fn keys_that_follow_each_other_in_chains() {
    chains("").await;
}

#[tokio::test]
async fn keys_that_follow_each_other_in_chains_as_text() {
    chains(AS_TEXT).await;
}

async fn chains(more: &str) {
    let schema = "create table t (a int, b int, v text, primary key (a, b));
        create table q (id int primary key deferrable initially deferred, v text); alter table q replica identity full;
        insert into t select i, i, 'v' || i from generate_series(1, 20) i; insert into q select a, v from t;";
    let followed = Followed::start(&format!("{more}{schema}"), &["public.t", "public.q"]).await;
    let transactions = [
        "update t set v = 'x' where a = 20",
        "update t set a = 101 where a = 1; update t set a = 1 where a = 2; update t set a = 2 where a = 101",
        "update t set b = b + 1000; update t set b = b - 999",
        "delete from t where a = 3; update t set a = 3 where a = 4; update t set a = 4 where a = 5; insert into t values (5, 6, 'again')",
        "update q set id = id + 1; update q set id = 22 - id",
        "update q set id = case id when 3 then 4 when 4 then 3 else id end, v = v || '!'",
    ];
    followed.change_in_one_batch("t", &transactions).await;
    followed.change(&transactions[1..4]).await;
}

#[tokio::test]
async fn unique_values_that_go_round_among_rows() {
    unique_values("").await;
}

#[tokio::test]
async fn unique_values_that_go_round_among_rows_as_text() {
    unique_values(AS_TEXT).await;
}

async fn unique_values(more: &str) {
    // At the destination too, where a unique index would else not be.
    let table = "create table t (id int primary key, slot int unique, code text, big text);
        create unique index on t (lower(code)); alter table t alter big set storage external;";
    let rows = "insert into t select i, i, 'c' || i, repeat('b' || i, 5000) from generate_series(1, 10) i;";
    let followed = Followed::between(&format!("{more}{table}{rows}"), table, &["public.t"]).await;
    let swap = "update t set slot = -slot, code = code || '_' where id in (1, 2, 3);
        update t set slot = case id when 1 then 2 when 2 then 3 else 1 end, code = case id when 1 then 'C2' when 2 then 'C3' else 'C1' end where id in (1, 2, 3)";
    let back = "update t set slot = null where id in (1, 2, 3); update t set slot = id, code = 'c' || id || 'x' where id in (1, 2, 3);
        update t set code = 'c' || id where id in (1, 2, 3)";
    let moved = "delete from t where id = 4; update t set slot = 4, code = 'C4' where id = 5; insert into t values (4, 5, 'c5', 'new')";
    followed.change_in_one_batch("t", &["update t set big = 'b' where id = 10", swap, back, swap, moved]).await;
    for transaction in [back, swap] {
        followed.change(&[transaction]).await;
    }
}

#[tokio::test]
async fn truncate_cascades_over_foreign_keys() {
    let tables = "create table parent (id int primary key); create table child (id int primary key, p int references parent on delete cascade);
        create table grandchild (id serial primary key, c int references child);";
    let rows = "insert into parent select generate_series(1, 9); insert into child select id, id from parent; insert into grandchild (c) select id from child;";
    let followed =
        Followed::between(&format!("{tables}{rows}"), tables, &["public.parent", "public.child", "public.grandchild"])
            .await;
    let again = "insert into parent values (1), (2); insert into child values (1, 1), (2, 2); insert into grandchild (c) values (1)";
    followed.change(&["insert into parent values (10); truncate parent cascade", again]).await;
    followed.change(&[&format!("truncate child restart identity cascade; truncate parent cascade; {again}")]).await;
    followed.change(&["delete from grandchild; delete from parent where id = 1", "truncate grandchild"]).await;
}

#[tokio::test]
async fn rows_without_a_key_of_values_without_equality() {
    let schema = "create table t (f float8, g float4, n numeric, j json, x xml, p point, s text, a float8[]); alter table t replica identity full;
        insert into t values ('NaN', '-0', 'NaN', '{\"a\": 1}', '<a>1</a>', '(0,-0)', null, '{NaN,-0}');
        insert into t select * from t; insert into t select * from t; insert into t select * from t;
        insert into t values ('-0', '0', '0.0', '{\"a\":1}', '<a>1</a>', '(-0,0)', '', '{}'), ('0', '-0', '0.00', null, null, null, 'x', null);
        create table twice (v int, w int); alter table twice replica identity full; insert into twice select 1, null from generate_series(1, 20);";
    let followed = Followed::start(schema, &["public.t", "public.twice"]).await;
    let one = "ctid = (select min(ctid) from t where s is null)";
    followed
        .change(&[
            &format!("update t set s = 'changed' where {one}; update t set j = '{{}}' where {one}"),
            &format!("delete from t where {one}; delete from t where {one}"),
            "update t set f = '0' where f::text = '-0'; update t set n = '0' where n::text = '0.00'",
            "update t set x = '<b/>' where x is null; update t set p = '(NaN,1)' where p is null",
            "update twice set w = 1 where ctid in (select ctid from twice limit 5); delete from twice where ctid in (select ctid from twice where w is null limit 3)",
            "insert into twice select * from twice; update twice set w = null where w = 1; delete from twice where ctid = (select min(ctid) from twice)",
        ])
        .await;
}

#[tokio::test]
async fn identities_and_columns_that_change_on_the_way() {
    let schema = "create table t (id int primary key, code int not null, gone text, v text, unique (code)); alter table t drop column gone;
        insert into t select i, i + 100, 'v' from generate_series(1, 10) i;";
    let followed = Followed::start(schema, &["public.t"]).await;
    followed
        .change(&["alter table t replica identity using index t_code_key; update t set id = id + 50 where id = 1"])
        .await;
    followed.change(&["update t set code = code + 1000 where id = 2; delete from t where id = 3"]).await;
    followed.change(&["update t set v = 'a' where id = 4; alter table t replica identity full; update t set v = 'b', id = 44 where id = 4; delete from t where id = 5"]).await;
    followed.change(&["alter table t replica identity default; update t set id = 66, code = 1 where id = 6; delete from t where id = 7"]).await;
    followed.pair.destination.sql(DB, "alter table t add column extra int default 7").await;
    followed
        .change(&["update t set v = 'c' where id = 8; alter table t add column extra int default 7; insert into t values (90, 90, 'n', 1); update t set extra = 8 where id = 9"])
        .await;
}

#[tokio::test]
async fn a_generated_column_in_the_key() {
    let schema = "create table t (id int not null, twice int generated always as (id * 2) stored not null, v text, unique (id, twice)); alter table t replica identity using index t_id_twice_key;
        insert into t (id, v) select i, 'v' from generate_series(1, 9) i;";
    let pair = Pair::start().await;
    pair.source.sql(DB, schema).await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    let tables = Table::all(&["public.t"]);
    pair.settle(&tables).await;
    pair.source
        .sql(DB, "update t set v = 'w' where id = 1; delete from t where id = 2; update t set id = 30 where id = 3")
        .await;
    pair.settle(&tables).await;
    assert!(rosetta.exited().is_none());
}

#[tokio::test]
async fn types_within_types_and_the_ends_of_time() {
    let types = "create type pair as (a int, b text);
        create domain checked as pair check ((value).a is null or (value).a > 0); create extension citext; create extension hstore;";
    let schema = "create table t (id citext primary key, d checked, ds checked[], h hstore, at timestamptz, on_day date, span interval);
        insert into t values ('A', '(1,x)', '{\"(2,y)\"}', 'a=>1,b=>NULL', 'infinity', '-infinity', '1 mon -1 day 00:00:01.5');";
    let followed = Followed::between(&format!("{types}{schema}"), types, &["public.t"]).await;
    followed
        .change(&[
            "update t set id = 'a', d = '(,\"q\\\"\")' where id = 'A'; insert into t values ('b', null, '{}', '', '-infinity', 'infinity', '-178000000 years')",
            "update t set id = 'B', at = '294276-12-31 23:59:59.999999+00', on_day = '5874897-12-31' where id = 'b'; insert into t values ('ä')",
            "update t set ds = '{NULL,\"(,)\"}', at = '4713-01-01 00:00:00+00 BC' where id = 'a'; delete from t where id = 'Ä'; delete from t where id = 'ä'",
        ])
        .await;
}

#[tokio::test]
async fn a_row_of_sixty_megabytes() {
    let schema = "create table t (id int primary key, v bytea, n int); alter table t alter v set storage external;
        insert into t select 1, decode(repeat('00ff5c27', 15000000), 'hex'), 0;";
    let followed = Followed::start(schema, &["public.t"]).await;
    followed
        .change(&[
            "update t set n = 1",
            "insert into t select 2, v || '\\x01', 2 from t; update t set id = 3 where id = 1",
            "update t set v = substr(v, 2) where id = 2; delete from t where id = 3",
        ])
        .await;
}

#[tokio::test]
async fn names_that_need_every_quote() {
    let pair = Pair::start().await;
    let names =
        [r#""a.b"."c.d""#, "\"q\"\"uo'te\".\"new\nline\"", r#""🦀 \ schema"."tab	le \n $1 %s""#, r#""SELECT"."*?!""#];
    let tables: Vec<Table> = names.iter().map(|name| Table::same(name)).collect();
    let mut selected = Vec::new();
    for name in names {
        let schema = &name[..name.find("\".").expect("two parts") + 1];
        let sql = format!(
            "create schema {schema}; create table {name} (\"i\"\"d\n\" int, \"v . 'al\" text, \"🐘\" int[], primary key (\"i\"\"d\n\"));
             insert into {name} select i, 'v', array[i] from generate_series(1, 20) i"
        );
        pair.source.sql(DB, &sql).await;
        selected.push(name);
    }
    let _rosetta = pair.rosetta("rosetta", &pair.config(&selected, ""));
    pair.settle(&tables).await;
    for name in names {
        let sql = format!(
            "update {name} set \"v . 'al\" = 'w', \"🐘\" = '{{1,2}}' where \"i\"\"d\n\" < 9; delete from {name} where \"i\"\"d\n\" = 3; \
             update {name} set \"i\"\"d\n\" = 3 where \"i\"\"d\n\" = 4; begin; truncate {name}; insert into {name} values (1), (2); commit"
        );
        pair.source.sql(DB, &sql).await;
    }
    pair.settle(&tables).await;
}
