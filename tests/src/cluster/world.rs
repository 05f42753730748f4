//! The servers around a cluster, and the audit tables in them.

use std::fmt::Write as _;

use super::way::Way;
use crate::{
    etcd::Etcd,
    postgres::{Options, Postgres},
};

/// The password in every URL. The servers do not ask for it; no node may ever show it.
pub(super) const PASSWORD: &str = "s3cret-of-the-harness";
/// The destination's database.
pub const MIRROR: &str = "mirror";
/// The config database.
pub const CATALOG: &str = "rosetta";

/// Source databases; the pipelines are spread over them.
const SHOPS: usize = 4;

/// A pipeline with its audit table, which has the same name on both sides.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    /// The source's database.
    pub shop: String,
    pub table: String,
}

impl Pipeline {
    fn numbered(number: usize) -> Pipeline {
        let shop = format!("shop_{}", number % SHOPS);
        Pipeline { name: format!("p{number:02}"), shop, table: format!("audit_{number:02}") }
    }

    #[must_use]
    pub fn slot(&self) -> String {
        format!("rosetta_{}", self.name)
    }
}

pub struct World {
    pub etcd: Etcd,
    pub catalog: Postgres,
    pub source: Postgres,
    pub destination: Postgres,
    pub pipelines: Vec<Pipeline>,
}

impl World {
    pub(super) async fn start(pipelines: usize, etcd_members: usize) -> World {
        let postgres = || Postgres::start(Options::default().set("max_connections", "400"));
        let etcd = async || match etcd_members {
            1 => Etcd::start().await,
            _ => Etcd::start_three().await,
        };
        let (etcd, catalog, source, destination) = tokio::join!(etcd(), postgres(), postgres(), postgres());
        let pipelines = (0..pipelines).map(Pipeline::numbered).collect();
        let world = World { etcd, catalog, source, destination, pipelines };
        world.create_tables().await;
        world
    }

    async fn create_tables(&self) {
        self.catalog.create_database(CATALOG).await;
        self.destination.create_database(MIRROR).await;
        for shop in self.shops() {
            self.source.create_database(shop).await;
        }
        for Pipeline { shop, table, .. } in &self.pipelines {
            let columns = "at timestamptz, writer int, seq bigint, note text";
            let first = format!("insert into {table} select now(), 0, i, 'before' from generate_series(1, 100) i");
            let full = format!("alter table {table} replica identity full");
            self.source.sql(shop, &format!("create table {table} ({columns}); {full}; {first}")).await;
            // What the source does not send: when a row came, and under which epoch.
            let arrival = "arrived timestamptz not null default clock_timestamp(), epoch bigint not null \
                           default substring(current_setting('application_name') from '^rosetta:([0-9]+):')::bigint";
            let indices = format!("create index on {table} (epoch, arrived); create index on {table} (seq)");
            self.destination.sql(MIRROR, &format!("create table {table} ({columns}, {arrival}); {indices}")).await;
        }
    }

    /// The source databases that have pipelines.
    pub fn shops(&self) -> impl Iterator<Item = &str> {
        self.pipelines.iter().take(SHOPS).map(|pipeline| pipeline.shop.as_str())
    }

    /// The tables of one source database.
    pub fn tables_of<'a>(&'a self, shop: &'a str) -> impl Iterator<Item = &'a str> {
        self.pipelines.iter().filter(move |pipeline| pipeline.shop == shop).map(|pipeline| pipeline.table.as_str())
    }

    /// Adds one row with `seq` = `mark` to every table.
    pub(super) async fn mark(&self, mark: i64) {
        for shop in self.shops() {
            let insert = |table| format!("insert into {table} values (clock_timestamp(), -1, {mark}, 'mark');");
            let inserts: String = self.tables_of(shop).map(insert).collect();
            self.source.sql(shop, &inserts).await;
        }
    }

    /// The definitions file, with the servers as nodes reach them.
    #[must_use]
    pub fn definitions(&self, way: &Way) -> String {
        let mut text = String::new();
        for shop in self.shops() {
            let url = way.source_url(shop);
            let _ = writeln!(text, "[[source]]\nname = \"{shop}\"\nurl = \"{url}\"\n");
        }
        let url = way.destination_url(MIRROR);
        let _ = writeln!(text, "[[destination]]\nname = \"{MIRROR}\"\nkind = \"postgres\"\nurl = \"{url}\"\n");
        for Pipeline { name, shop, table } in &self.pipelines {
            let _ = writeln!(
                text,
                "[[pipeline]]\nname = \"{name}\"\nsource = \"{shop}\"\ndestinations = [\"{MIRROR}\"]\n\
                 tables = [\"public.{table}\"]\n"
            );
        }
        text
    }
}
