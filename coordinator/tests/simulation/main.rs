//! The whole cluster as a deterministic simulation: nodes, leader and handovers as they are, etcd, source and
//! destination as models, time and faults from a seed. Each seed is a schedule of crashes, pauses, cuts, lost answers
//! and lost leases, after which everything must run again; whatever happens, what the destination has is the
//! source's transactions in order, each once.
//!
//! `ROSETTA_SIM_SCHEDULES=10000` runs so many schedules, `ROSETTA_SIM_SEED=42` only that one.

mod databases;
mod faults;
mod io;
mod leader;
mod process;
mod runner;
mod store;
mod world;

use databases::{ALL_GUARDS, Guards};
use world::Counts;

/// How many schedules each run has when nobody says otherwise: some seconds.
const SCHEDULES: u64 = 500;

fn number_of(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn seeds() -> std::ops::Range<u64> {
    match number_of("ROSETTA_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_of("ROSETTA_SIM_SCHEDULES").unwrap_or(SCHEDULES),
    }
}

fn run_all(guards: Guards) -> Counts {
    let mut all = Counts::default();
    for seed in seeds() {
        match world::run(seed, guards) {
            Err(what) => panic!("seed {seed}: {what}\nrepeat it with ROSETTA_SIM_SEED={seed}"),
            Ok(counts) => {
                all.transactions += counts.transactions;
                all.fenced += counts.fenced;
                all.owners += counts.owners;
                all.handovers += counts.handovers;
                all.cancelled += counts.cancelled;
                all.superseded += counts.superseded;
            }
        }
    }
    println!("{all:?}");
    all
}

#[test]
fn whatever_fails_each_transaction_is_written_once_and_everything_runs_in_the_end() {
    let counts = run_all(ALL_GUARDS);
    // A simulation in which none of this happens would prove nothing.
    let schedules = seeds().end - seeds().start;
    if schedules >= 100 {
        assert!(counts.transactions > schedules * 100, "{counts:?}");
        assert!(counts.fenced > schedules && counts.owners > schedules * 5, "{counts:?}");
        assert!(counts.handovers > schedules && counts.superseded > schedules / 10, "{counts:?}");
        assert!(counts.cancelled > schedules / 10, "{counts:?}");
    }
}

#[test]
fn the_fence_alone_is_enough() {
    run_all(Guards { fence: true, slot: false });
}

/// The proof that the simulation finds what it looks for.
#[test]
fn without_the_fence_a_transaction_is_written_twice() {
    let found = (0..200).find_map(|seed| world::run(seed, Guards { fence: false, slot: true }).err());
    let what = found.expect("in none of 200 schedules did two owners write");
    assert!(what.contains("was accepted after") || what.contains("upon"), "{what}");
}

#[test]
fn a_seed_always_gives_the_same_run() {
    let run = || format!("{:?}", world::run(7, ALL_GUARDS));
    assert_eq!(run(), run());
}
