//! What goes wrong between each client and the store.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

#[derive(Debug, Default)]
pub(super) struct Faults {
    ways: HashMap<String, Way>,
    lost_answers: HashSet<String>,
}

/// The way between one client and the store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    pub(super) is_cut_off: bool,
    pub(super) drops_events: bool,
    pub(super) delay: Duration,
}

impl Faults {
    pub(super) fn way(&self, client: &str) -> Way {
        self.ways.get(client).copied().unwrap_or_default()
    }

    pub(super) fn cut_off(&mut self, client: &str) {
        self.change(client).is_cut_off = true;
    }

    pub(super) fn drop_events(&mut self, client: &str) {
        self.change(client).drops_events = true;
    }

    pub(super) fn delay(&mut self, client: &str, each: Duration) {
        self.change(client).delay = each;
    }

    pub(super) fn heal(&mut self, client: &str) {
        self.ways.remove(client);
        self.lost_answers.remove(client);
    }

    pub(super) fn lose_next_answer(&mut self, client: &str) {
        self.lost_answers.insert(client.to_owned());
    }

    pub(super) fn take_lost_answer(&mut self, client: &str) -> bool {
        self.lost_answers.remove(client)
    }

    fn change(&mut self, client: &str) -> &mut Way {
        self.ways.entry(client.to_owned()).or_default()
    }
}
