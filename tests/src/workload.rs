//! A seeded load of several writers on the tables that tell most: one without a key, one with a key that changes, and
//! a bank in two tables whose total never changes.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{oracle::Table, postgres::Postgres, writers::Writers};

pub const TABLES: &[&str] = &["public.audit", "public.keyed", "public.bank_a", "public.bank_b"];

const ACCOUNTS: i64 = 50;
const OPENING_BALANCE: i64 = 1000;
const KEYS: i64 = 500;

/// The total over both bank tables, in one query and so in one snapshot.
pub const BANK_TOTAL: &str = "select coalesce((select sum(balance) from public.bank_a), 0) \
                              + coalesce((select sum(balance) from public.bank_b), 0)";
#[must_use]
pub fn expected_total() -> i64 {
    2 * ACCOUNTS * OPENING_BALANCE
}

#[must_use]
pub fn tables() -> Vec<Table> {
    Table::all(TABLES)
}

pub async fn create_tables(source: &Postgres, db: &str) {
    let schema = format!(
        "create table audit (at timestamptz, who int, what text, amount numeric);
         alter table audit replica identity full;
         create table keyed (id bigint primary key, version int not null, note text, big text);
         create table bank_a (id bigint primary key, balance bigint not null);
         create table bank_b (like bank_a including all);
         insert into bank_a select i, {OPENING_BALANCE} from generate_series(1, {ACCOUNTS}) i;
         insert into bank_b select * from bank_a;
         insert into keyed select i, 0, 'note ' || i, repeat(md5(i::text), 200) from generate_series(1, {KEYS}) i;
         insert into audit select now(), 0, 'before', i from generate_series(1, 100) i;"
    );
    source.sql(db, &schema).await;
}

/// A running load. Writers reconnect when the server is away.
pub struct Workload(Writers);

impl Workload {
    /// `writers` connections, each of which starts a transaction every `pace` (or as soon as it can).
    #[must_use]
    pub fn start(source: &Postgres, db: &str, seed: u64, writers: u64, pace: Duration) -> Workload {
        let mut load = Writers::default();
        for number in 0..writers {
            let rng = StdRng::seed_from_u64(seed.wrapping_mul(1000) + number);
            let mut writer = Writer { number, rng };
            load.add(source.url(db), pace, move || writer.transaction());
        }
        Workload(load)
    }

    /// Transactions committed so far.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.0.committed()
    }

    /// Lets every writer finish its transaction. Answers how many were committed.
    pub async fn stop(self) -> u64 {
        self.0.stop().await
    }
}

struct Writer {
    number: u64,
    rng: StdRng,
}

impl Writer {
    fn transaction(&mut self) -> String {
        let work: String = (0..self.rng.random_range(1..=3)).map(|_| self.change()).collect();
        let aside = if self.rng.random_ratio(1, 10) {
            format!("savepoint s; {} rollback to s;", self.change())
        } else {
            String::new()
        };
        let end = if self.rng.random_ratio(1, 20) { "rollback" } else { "commit" };
        format!("begin; {work}{aside} {end}")
    }

    fn change(&mut self) -> String {
        match self.rng.random_range(0..10) {
            0..4 => self.transfer(),
            4..7 => self.keyed(),
            _ => self.audit(),
        }
    }

    fn transfer(&mut self) -> String {
        let (from, to) = (self.rng.random_range(1..=ACCOUNTS), self.rng.random_range(1..=ACCOUNTS));
        let amount = self.rng.random_range(-20..=20);
        format!(
            "update bank_a set balance = balance - {amount} where id = {from}; \
             update bank_b set balance = balance + {amount} where id = {to};"
        )
    }

    fn keyed(&mut self) -> String {
        let key = self.rng.random_range(1..=KEYS);
        let other = self.rng.random_range(1..=2 * KEYS);
        match self.rng.random_range(0..6) {
            0 => format!("delete from keyed where id = {key};"),
            1 => format!(
                "update keyed set id = {other} where id = {key} and not exists (select from keyed where id = {other});"
            ),
            2 => format!("update keyed set big = repeat(md5(random()::text), 200) where id = {key};"),
            3 => format!("update keyed set version = version + 1 where id = {key};"),
            4 => format!(
                "delete from keyed where id = {key}; insert into keyed values ({key}, -1, 'again', repeat('x', 9000));"
            ),
            _ => format!(
                "insert into keyed values ({other}, 0, 'new', repeat(md5(random()::text), 150)) \
                 on conflict (id) do update set version = keyed.version + 1, note = 'upserted';"
            ),
        }
    }

    fn audit(&mut self) -> String {
        let who = self.number;
        let one = format!("ctid = (select ctid from audit where who = {who} limit 1)");
        match self.rng.random_range(0..10) {
            0 => format!("delete from audit where {one};"),
            1 => format!("update audit set what = 'changed' where {one};"),
            // Identical rows: only their number tells whether one was lost or doubled.
            2..5 => format!("insert into audit select null, {who}, 'same', 1 from generate_series(1, 3);"),
            _ => format!("insert into audit values (clock_timestamp(), {who}, 'event', random());"),
        }
    }
}
