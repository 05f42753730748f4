//! Every metric: its name with the unit, its labels, and what it says. docs/METRICS.md is made of this.

/// What Prometheus does with a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; begins anew when the process does.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric as it is named and described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const PIPELINE: &[&str] = &["pipeline"];
const NONE: &[&str] = &[];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

macro_rules! table {
    ($($const:ident = $kind:ident($name:literal, $labels:expr, $help:literal);)*) => {
        $(pub const $const: Metric = $kind($name, $labels, $help);)*
        /// All of them, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($const),*];
    };
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

table! {
    PIPELINE_UP = gauge("rosetta_pipeline_up", PIPELINE,
        "1 while it copies or follows its source, otherwise 0");
    PIPELINE_STATE = gauge("rosetta_pipeline_state", &["pipeline", "state"],
        "1 for the state that it is in, 0 for the others");
    PIPELINE_EPOCH = gauge("rosetta_pipeline_epoch", PIPELINE,
        "The epoch of its newest start: a greater one takes it over");
    LAG_BYTES = gauge("rosetta_pipeline_lag_bytes", PIPELINE,
        "Bytes of the source's log between what is known of it and what the destinations show");
    LAG_SECONDS = gauge("rosetta_pipeline_lag_seconds", PIPELINE,
        "From the source's commit to the destination's, of the last batch; 0 when caught up");
    COMMIT_LATENCY = histogram("rosetta_pipeline_commit_latency_seconds", PIPELINE,
        "From the source's commit to the destination's, of each change");
    CHANGES = counter("rosetta_pipeline_changes_total", PIPELINE,
        "Changes of rows that were applied, once for each destination");
    CHANGE_BYTES = counter("rosetta_pipeline_change_bytes_total", PIPELINE,
        "Bytes of these changes as the source sent them");
    BATCHES = counter("rosetta_pipeline_batches_total", PIPELINE,
        "Batches that were applied; changes by batches is a batch's size");
    BATCH_WRITE_SECONDS = counter("rosetta_pipeline_batch_write_seconds_total", PIPELINE,
        "What the destinations took for them, commits included; or the store of dead letters, while one is away");
    MISSING_ROWS = counter("rosetta_pipeline_missing_rows_total", PIPELINE,
        "Rows to be updated or deleted that the destination did not have");
    RESTARTS = counter("rosetta_pipeline_restarts_total", PIPELINE,
        "How often it was started again after an error");
    ERRORS = counter("rosetta_pipeline_errors_total", &["pipeline", "class"],
        "How often an error ended it: transient (tried again), permanent, fenced (another process has it), needs_resync");
    DEAD_LETTERS = gauge("rosetta_pipeline_dead_letters", PIPELINE,
        "Changes that wait outside of a destination");
    TABLES = gauge("rosetta_pipeline_tables", PIPELINE,
        "Tables that it has");
    TABLES_COPIED = gauge("rosetta_pipeline_tables_copied", PIPELINE,
        "Tables whose first copy is complete");
    ROWS_COPIED = counter("rosetta_pipeline_rows_copied_total", PIPELINE,
        "Rows of first copies that were written");
    ROWS_TO_COPY = gauge("rosetta_pipeline_rows_to_copy", PIPELINE,
        "Rows of the first copy as far as the source's statistics tell; 0 until known");
    SLOT_RETAINED = gauge("rosetta_slot_retained_wal_bytes", PIPELINE,
        "Log that the source keeps for the slot, also while the pipeline is paused or failed");
    SLOT_SAFE = gauge("rosetta_slot_safe_wal_bytes", PIPELINE,
        "Log that may still be written before the source gives the slot up; absent where max_slot_wal_keep_size is not set");
    SLOT_CONFIRMED = gauge("rosetta_slot_confirmed_lsn", PIPELINE,
        "The position up to which the slot was told that all is durable, as a number of bytes");
    PIPELINES_EXPECTED = gauge("rosetta_pipelines_expected", NONE,
        "Pipelines that should run: of the cluster, told by its leader only; of a standalone process, by itself");
    PIPELINES_UNOWNED = gauge("rosetta_pipelines_unowned", NONE,
        "Pipelines of the cluster that have no node that lives; told by the leader only");
    HANDOVERS = gauge("rosetta_cluster_handovers", NONE,
        "Planned moves that are under way; told by the leader only");
    CLUSTER_NODES = gauge("rosetta_cluster_nodes", NONE,
        "Nodes that live; told by the leader only");
    NODE_INFO = gauge("rosetta_node_info", &["node", "cluster", "version"],
        "Always 1");
    NODE_READY = gauge("rosetta_node_ready", NONE,
        "1 while the node takes part in the cluster, as /health/ready says");
    NODE_LEADER = gauge("rosetta_node_leader", NONE,
        "1 for the node that leads, as this node knows");
    NODE_ETCD = gauge("rosetta_node_etcd_connected", NONE,
        "1 while etcd answers this node");
    LEASE_MARGIN = gauge("rosetta_node_lease_margin_ratio", NONE,
        "What is left of the time for which the node surely has its lease, from 0 to 1; 4 s at most, renewed each second");
    NODE_PIPELINES = gauge("rosetta_node_pipelines", NONE,
        "Pipelines that the process has, paused and failed ones, too");
    FENCES = counter("rosetta_node_fences_total", NONE,
        "How often another process took a pipeline of this one over while it ran");
    TAKEN = counter("rosetta_node_pipelines_taken_total", &["reason"],
        "Pipelines that came to this node from none or another: placed, failover, drain, balance, asked, unreachable");
    POOL_LIMIT = gauge("rosetta_catalog_pool_limit", NONE,
        "Connections to the config database that the node may open");
    POOL_OPEN = gauge("rosetta_catalog_pool_connections", NONE,
        "Connections to the config database that are open");
    POOL_IDLE = gauge("rosetta_catalog_pool_idle", NONE,
        "Those of them that nobody uses");
    POOL_WAITERS = gauge("rosetta_catalog_pool_waiters", NONE,
        "Calls that wait for one");
    PROCESS_MEMORY = gauge("process_resident_memory_bytes", NONE,
        "Memory that the process holds");
    PROCESS_CPU = counter("process_cpu_seconds_total", NONE,
        "Processor time that the process has used, user and system");
    PROCESS_FDS = gauge("process_open_fds", NONE,
        "Files and sockets that the process has open");
}
