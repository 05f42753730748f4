//! What the nodes share, on a real etcd (and in memory, where both have to behave alike).

mod contract;
mod outage;
