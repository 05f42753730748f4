use proptest::prelude::*;

use super::*;

fn key(number: i64) -> OrderedKey {
    (number % 3, RowKey::Columns(vec![Some(number.to_string())]))
}

fn sorted(rows: &[(i64, i64)]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = rows.iter().map(|(number, hash)| Entry { key: key(*number), hash: *hash }).collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

/// Feeds both streams in pages and collects what the merge finds.
fn merge(source: &[(i64, i64)], destination: &[(i64, i64)], page: usize) -> BTreeMap<OrderedKey, Pair> {
    let (source, destination) = (sorted(source), sorted(destination));
    let mut source = source.chunks(page);
    let mut destination = destination.chunks(page);
    let mut merge = Merge::default();
    let mut found = BTreeMap::new();
    loop {
        match merge.step() {
            Step::Fetch(Side::Source) => merge.feed(Side::Source, source.next().unwrap_or_default().to_vec()),
            Step::Fetch(Side::Destination) => {
                merge.feed(Side::Destination, destination.next().unwrap_or_default().to_vec());
            }
            Step::Differs(key, pair) => assert!(found.insert(key, pair).is_none()),
            Step::Done => return found,
        }
    }
}

fn prints<K: Ord>(rows: &[(i64, i64)], group: impl Fn(i64) -> K) -> BTreeMap<K, Fingerprint> {
    let mut prints: BTreeMap<K, Fingerprint> = BTreeMap::new();
    for (number, hash) in rows {
        prints.entry(group(*number)).or_default().add(Fingerprint::of(*hash));
    }
    prints
}

fn rows() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((0i64..12, 0i64..4), 0..40)
}

proptest! {
    #[test]
    fn exactly_the_differing_keys_are_found(source in rows(), destination in rows(), page in 1usize..9) {
        let (left, right) = (prints(&source, key), prints(&destination, key));
        let found = merge(&source, &destination, page);
        for number in 0..12 {
            let key = key(number);
            let pair = Pair {
                source: left.get(&key).copied().unwrap_or_default(),
                destination: right.get(&key).copied().unwrap_or_default(),
            };
            prop_assert_eq!(found.get(&key).copied(), pair.differs().then_some(pair));
        }
    }

    #[test]
    fn a_bucket_differs_exactly_when_one_of_its_keys_does(source in rows(), destination in rows()) {
        let bucket = |number: i64| u32::try_from(number % 5).expect("below 5");
        let (left, right) = (prints(&source, bucket), prints(&destination, bucket));
        let differing = differing_buckets(&left, &right);
        for number in 0..5 {
            let is_same = left.get(&number).copied().unwrap_or_default() == right.get(&number).copied().unwrap_or_default();
            prop_assert_eq!(differing.contains(&number), !is_same);
        }
    }

    /// A destination that follows the source, however late, and is read no earlier than the source, is never
    /// reported; a row that it lost for good is.
    #[test]
    fn only_lasting_differences_are_proven(history in prop::collection::vec(1i64..1000, 3..30), lag in 0usize..3, lost: bool) {
        let row = key(1);
        let read = |version: usize| history.get(version).map(|value| Fingerprint::of(*value * 1000 + version as i64)).unwrap_or_default();
        let at = |time: usize| HashMap::from([(row.1.clone(), read(time.min(history.len() - 1)))]);
        let destination_at = |time: usize| if lost { HashMap::new() } else { at(time) };
        let first = Pair { source: read(0), destination: destination_at(lag).get(&row.1).copied().unwrap_or_default() };
        let mut recheck = Recheck::new(first.differs().then(|| (row.clone(), first)));
        for round in 1..history.len() + 3 {
            recheck.observe(&at(round), &destination_at(round + lag));
        }
        prop_assert_eq!(recheck.proven().contains_key(&row), lost);
        prop_assert_eq!(recheck.doubtful_count(), 0);
    }
}

#[test]
fn kinds_are_seen_from_the_destination() {
    let found = merge(&[(1, 5), (2, 5), (3, 5)], &[(2, 6), (3, 5), (4, 5)], 1);
    let kinds: BTreeMap<OrderedKey, Kind> = found.into_iter().map(|(key, pair)| (key, pair.kind())).collect();
    let expected = [(key(1), Kind::Missing), (key(2), Kind::Different), (key(4), Kind::Extra)];
    assert_eq!(kinds, expected.into_iter().collect());
}

#[test]
fn a_key_that_moves_stays_in_doubt() {
    let row = key(1);
    let reading = |hash| HashMap::from([(row.1.clone(), Fingerprint::of(hash))]);
    let mut recheck =
        Recheck::new([(row.clone(), Pair { source: Fingerprint::of(1), destination: Fingerprint::of(2) })]);
    recheck.observe(&reading(2), &reading(3));
    assert_eq!((recheck.doubtful_count(), recheck.proven().len()), (1, 0));
    recheck.observe(&reading(3), &reading(3));
    assert_eq!((recheck.doubtful_count(), recheck.proven().len()), (0, 0));
}
