//! The planner: what holds for every cluster, and each of its rules by an example.

mod absence;
mod balance;
mod cluster;
mod properties;
mod rules;
