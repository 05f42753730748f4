//! Changes that a destination does not take: where they wait, and how they come home.

mod contract;
mod outage;
mod redis_faults;
mod rows;
mod samples;
