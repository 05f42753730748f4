//! Rosetta: exact, live copies of PostgreSQL databases.

pub mod config;
