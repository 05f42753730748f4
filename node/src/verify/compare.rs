//! Which rows differ: decided from what was read, apart from reading it.
//!
//! `buckets -> Merge over the rows of those that differ -> Recheck until nothing is in doubt`

use std::collections::{BTreeMap, HashMap, VecDeque};

/// A multiset of rows in two numbers. The sum is of 64-bit hashes, so the order of reading does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) rows: u64,
    pub(super) sum: i128,
}

impl Fingerprint {
    pub(super) const NONE: Fingerprint = Fingerprint { rows: 0, sum: 0 };

    pub(super) fn of(hash: i64) -> Fingerprint {
        Fingerprint { rows: 1, sum: i128::from(hash) }
    }

    pub(super) fn add(&mut self, other: Fingerprint) {
        self.rows += other.rows;
        self.sum += other.sum;
    }
}

/// What makes a row findable on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum RowKey {
    /// The text of each key column.
    Columns(Vec<Option<String>>),
    /// The hash of the whole row, in a table without a key.
    Hash(i64),
}

/// A key in the order in which both servers return rows: by the hash of its text first, because two servers need not
/// sort text alike.
pub(super) type OrderedKey = (i64, RowKey);

/// One row as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: OrderedKey,
    pub(super) hash: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// The buckets whose rows are not the same on both sides; a bucket that one side lacks is empty there.
pub(super) fn differing_buckets(
    source: &BTreeMap<u32, Fingerprint>,
    destination: &BTreeMap<u32, Fingerprint>,
) -> Vec<u32> {
    let lacking = destination.keys().filter(|bucket| !source.contains_key(bucket));
    let differing = source.iter().filter(|(bucket, print)| destination.get(bucket) != Some(print));
    let mut buckets: Vec<u32> = differing.map(|(bucket, _)| bucket).chain(lacking).copied().collect();
    buckets.sort_unstable();
    buckets
}

/// What both sides hold under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) source: Fingerprint,
    pub(super) destination: Fingerprint,
}

impl Pair {
    fn differs(self) -> bool {
        self.source != self.destination
    }

    pub(super) fn kind(self) -> Kind {
        if self.destination.rows < self.source.rows {
            Kind::Missing
        } else if self.destination.rows > self.source.rows {
            Kind::Extra
        } else {
            Kind::Different
        }
    }
}

/// How a row differs, seen from the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Missing,
    Extra,
    Different,
}

/// Walks two streams of rows that are sorted by key, holding no more than the pages it was given.
#[derive(Debug, Default)]
pub(super) struct Merge {
    source: Stream,
    destination: Stream,
}

#[derive(Debug, Default)]
struct Stream {
    entries: VecDeque<Entry>,
    ended: bool,
    /// The rows of the key at the front that were already taken off, when the key's last row was not yet seen.
    begun: Option<(OrderedKey, Fingerprint)>,
}

/// What a [`Merge`] wants, or has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next page of this side, by [`Merge::feed`].
    Fetch(Side),
    Differs(OrderedKey, Pair),
    Done,
}

impl Merge {
    /// The next page of one side, sorted by key; an empty page ends the side.
    pub(super) fn feed(&mut self, side: Side, page: Vec<Entry>) {
        let stream = match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        };
        stream.ended |= page.is_empty();
        stream.entries.extend(page);
    }

    pub(super) fn step(&mut self) -> Step {
        loop {
            if !self.source.gather() {
                return Step::Fetch(Side::Source);
            }
            if !self.destination.gather() {
                return Step::Fetch(Side::Destination);
            }
            let key = match (self.source.key(), self.destination.key()) {
                (None, None) => return Step::Done,
                (Some(source), Some(destination)) => source.min(destination).clone(),
                (Some(key), None) | (None, Some(key)) => key.clone(),
            };
            let pair = Pair { source: self.source.take(&key), destination: self.destination.take(&key) };
            if pair.differs() {
                return Step::Differs(key, pair);
            }
        }
    }
}

impl Stream {
    /// Sums up the rows of the first key. Returns whether that key is complete, or the stream is at its end.
    fn gather(&mut self) -> bool {
        while let Some(entry) = self.entries.pop_front() {
            match &mut self.begun {
                Some((key, print)) if *key == entry.key => print.add(Fingerprint::of(entry.hash)),
                Some(_) => {
                    self.entries.push_front(entry);
                    return true;
                }
                None => self.begun = Some((entry.key, Fingerprint::of(entry.hash))),
            }
        }
        self.ended
    }

    fn key(&self) -> Option<&OrderedKey> {
        self.begun.as_ref().map(|(key, _)| key)
    }

    fn take(&mut self, wanted: &OrderedKey) -> Fingerprint {
        if self.key() != Some(wanted) {
            return Fingerprint::NONE;
        }
        self.begun.take().map_or(Fingerprint::NONE, |(_, print)| print)
    }
}

/// Keys that differed once, read again until each has proved equal or different.
///
/// A destination that is being written to is read at a later position than the source, so one pair of readings proves
/// nothing. A difference is proven when two consecutive readings of the source agree, so that the source did not change
/// between them, and the destination, having passed both positions, held the same other rows twice.
#[derive(Debug, Default)]
pub(super) struct Recheck {
    doubtful: BTreeMap<OrderedKey, Pair>,
    proven: BTreeMap<OrderedKey, Pair>,
}

impl Recheck {
    pub(super) fn new(suspects: impl IntoIterator<Item = (OrderedKey, Pair)>) -> Recheck {
        Recheck { doubtful: suspects.into_iter().collect(), proven: BTreeMap::new() }
    }

    /// The keys to read again, on the source and then on the destination.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = &RowKey> {
        self.doubtful.keys().map(|(_, key)| key)
    }

    pub(super) fn doubtful_count(&self) -> usize {
        self.doubtful.len()
    }

    /// Takes a new reading of every doubtful key; a key that a side lacks has no rows there.
    pub(super) fn observe(
        &mut self,
        source: &HashMap<RowKey, Fingerprint>,
        destination: &HashMap<RowKey, Fingerprint>,
    ) {
        let read = |rows: &HashMap<RowKey, Fingerprint>, key: &RowKey| rows.get(key).copied().unwrap_or_default();
        for (ordered, before) in std::mem::take(&mut self.doubtful) {
            let now = Pair { source: read(source, &ordered.1), destination: read(destination, &ordered.1) };
            if !now.differs() {
                continue;
            }
            let settled = if now == before { &mut self.proven } else { &mut self.doubtful };
            settled.insert(ordered, now);
        }
    }

    /// The keys that are proven to differ.
    pub(super) fn proven(&self) -> &BTreeMap<OrderedKey, Pair> {
        &self.proven
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
