//! What both stores promise.

use std::sync::Arc;

use rosetta_node::dead_letters::{
    Addition, DeadLetterStore, Letter, LetterChange, LetterId, Mailbox, RedisStore, SqliteStore, StoreError,
};
use rosetta_node::pipeline::batch::Operation;
use rosetta_proto::{Epoch, Lsn};
use rosetta_tests::{Redis, Scratch};

use super::samples::{TABLE, addition, end, failure, id, letter, mailbox, owner, shape, step};

/// A store, and what must live as long as it.
struct Place {
    store: Arc<dyn DeadLetterStore>,
    _redis: Option<Redis>,
    _scratch: Scratch,
}

async fn places() -> [Place; 2] {
    let scratch = Scratch::new();
    let file = SqliteStore::open(scratch.path()).expect("a file of SQLite");
    let file = Place { store: Arc::new(file), _redis: None, _scratch: scratch };
    let redis = Redis::start().await;
    let store = RedisStore::new(&redis.url(), false).expect("a URL");
    [file, Place { store: Arc::new(store), _redis: Some(redis), _scratch: Scratch::new() }]
}

async fn all(store: &dyn DeadLetterStore) -> Vec<Letter> {
    store.read(&mailbox().stream(TABLE), LetterId::default()..end(), 10_000).await.expect("letters")
}

async fn ids(store: &dyn DeadLetterStore) -> Vec<LetterId> {
    all(store).await.into_iter().map(|letter| letter.id).collect()
}

#[tokio::test]
async fn letters_come_back_as_they_were_and_in_order() {
    for Place { store, .. } in &places().await {
        let old = super::samples::tuple(b"k", b"");
        let mut letters = vec![letter(5, 0), letter(5, 1), letter(7, 0), letter(7, 30)];
        for (letter, operation) in letters.iter_mut().zip([Operation::Update, Operation::Rekey, Operation::Delete]) {
            let LetterChange::Row { new, .. } = letter.change.clone() else { continue };
            letter.change = LetterChange::Row { operation, has_unchanged: false, old: old.clone(), new };
        }
        letters.push(Letter { change: LetterChange::Truncate { restart_identity: true }, ..letter(9, 0) });
        letters[1].failure = Some(failure("23505", 3));
        store.add(&owner(1), "mirror", addition(letters.clone())).await.unwrap();
        assert_eq!(all(store.as_ref()).await, letters, "{store:?}");
        let stream = mailbox().stream(TABLE);
        let some = store.read(&stream, id(5, 1)..id(9, 0), 2).await.unwrap();
        assert_eq!(some, letters[1..3], "{store:?}");
        assert_eq!(store.shape("orders", shape().id()).await.unwrap(), Some(shape()));
        let other = Mailbox::new("orders", "other").stream(TABLE);
        assert_eq!(store.read(&other, LetterId::default()..end(), 9).await.unwrap(), [], "{store:?}");
    }
}

#[tokio::test]
async fn a_letter_that_is_added_twice_is_one_letter() {
    for Place { store, .. } in &places().await {
        store.add(&owner(1), "mirror", addition(vec![letter(5, 0), letter(5, 1)])).await.unwrap();
        let again = Letter { failure: Some(failure("22001", 1)), ..letter(5, 1) };
        store.add(&owner(1), "mirror", addition(vec![letter(5, 0), again.clone(), letter(5, 2)])).await.unwrap();
        assert_eq!(all(store.as_ref()).await, [letter(5, 0), again, letter(5, 2)], "{store:?}");
        let figures = store.streams(&mailbox()).await.unwrap();
        assert_eq!((figures.len(), figures[0].0.as_str(), figures[0].1.letters), (1, TABLE, 3), "{store:?}");
        assert_eq!(figures[0].1.oldest, Some(1005), "{store:?}");
    }
}

/// A batch that is tried again may be rejected at an earlier row than before.
#[tokio::test]
async fn a_letter_takes_its_place_among_those_that_are_there() {
    for Place { store, .. } in &places().await {
        store.add(&owner(1), "mirror", addition(vec![letter(5, 3), letter(6, 0)])).await.unwrap();
        store.add(&owner(1), "mirror", addition(vec![letter(5, 1), letter(5, 3), letter(5, 4)])).await.unwrap();
        assert_eq!(ids(store.as_ref()).await, [id(5, 1), id(5, 3), id(5, 4), id(6, 0)], "{store:?}");
        store.remove(&owner(1), &mailbox().stream(TABLE), &[id(6, 0)]).await.unwrap();
        store.add(&owner(1), "mirror", addition(vec![letter(5, 9)])).await.unwrap();
        assert_eq!(ids(store.as_ref()).await, [id(5, 1), id(5, 3), id(5, 4), id(5, 9)], "{store:?}");
    }
}

#[tokio::test]
async fn what_is_removed_is_gone_and_may_come_again() {
    for Place { store, .. } in &places().await {
        let stream = mailbox().stream(TABLE);
        store.add(&owner(1), "mirror", addition(vec![letter(5, 0), letter(5, 1)])).await.unwrap();
        assert_eq!(store.remove(&owner(1), &stream, &[id(5, 1), id(8, 8)]).await.unwrap(), 1, "{store:?}");
        assert_eq!(ids(store.as_ref()).await, [id(5, 0)], "{store:?}");
        assert_eq!(store.remove(&owner(1), &stream, &[id(5, 0)]).await.unwrap(), 1, "{store:?}");
        assert_eq!(store.streams(&mailbox()).await.unwrap(), [], "{store:?}");
        store.add(&owner(1), "mirror", addition(vec![letter(4, 0)])).await.unwrap();
        assert_eq!(ids(store.as_ref()).await, [id(4, 0)], "{store:?}");
    }
}

#[tokio::test]
async fn failures_are_noted_on_letters_that_are_there() {
    for Place { store, .. } in &places().await {
        let stream = mailbox().stream(TABLE);
        store.add(&owner(1), "mirror", addition(vec![letter(5, 0)])).await.unwrap();
        let failures = [(id(5, 0), failure("23514", 2)), (id(5, 1), failure("23514", 2))];
        store.note(&owner(1), &stream, &failures).await.unwrap();
        let noted = Letter { failure: Some(failure("23514", 2)), ..letter(5, 0) };
        assert_eq!(all(store.as_ref()).await, [noted], "{store:?}");
    }
}

#[tokio::test]
async fn an_older_owner_writes_nothing() {
    for Place { store, .. } in &places().await {
        assert_eq!(store.newest_epoch("orders").await.unwrap(), Epoch::NONE, "{store:?}");
        store.claim(&owner(9)).await.unwrap();
        store.claim(&owner(10)).await.unwrap();
        store.claim(&owner(10)).await.unwrap();
        assert_eq!(store.newest_epoch("orders").await.unwrap(), Epoch(10), "{store:?}");
        let stream = mailbox().stream(TABLE);
        let refused = [
            store.claim(&owner(9)).await,
            store.add(&owner(9), "mirror", addition(vec![letter(5, 0)])).await,
            store.remove(&owner(9), &stream, &[id(5, 0)]).await.map(drop),
            store.note(&owner(9), &stream, &[(id(5, 0), failure("22001", 1))]).await,
            store.end_spill(&owner(9), "mirror", 0).await,
        ];
        for result in refused {
            assert!(matches!(result, Err(StoreError::Fenced { newest: Epoch(10), .. })), "{store:?}: {result:?}");
        }
        assert_eq!(ids(store.as_ref()).await, [], "{store:?}");
    }
}

#[tokio::test]
async fn a_spill_goes_on_from_where_it_was_or_not_at_all() {
    for Place { store, .. } in &places().await {
        let owner = owner(1);
        let spill = |from, to| {
            let addition = Addition { spill: Some(step(from, to)), ..addition(Vec::new()) };
            store.add(&owner, "mirror", addition)
        };
        spill(None, 100).await.unwrap();
        spill(None, 100).await.unwrap(); // the answer was lost
        spill(Some(100), 200).await.unwrap();
        assert!(matches!(spill(Some(100), 300).await, Err(StoreError::Forgotten { worker: 0, .. })), "{store:?}");
        let spills = store.spills(&mailbox()).await.unwrap();
        assert_eq!((spills.len(), spills[0].end, spills[0].since), (1, Lsn(200), 77), "{store:?}");
        store.end_spill(&owner, "mirror", 0).await.unwrap();
        assert_eq!(store.spills(&mailbox()).await.unwrap(), [], "{store:?}");
        spill(None, 500).await.unwrap();
    }
}

#[tokio::test]
async fn many_letters_of_many_tables() {
    for Place { store, .. } in &places().await {
        let mut many = addition(Vec::new());
        for number in 0..6000 {
            many.letters.push((format!("public.t{}", number % 7), letter(50 + number / 100, number % 100)));
        }
        store.add(&owner(1), "mirror", many).await.unwrap();
        let figures = store.streams(&mailbox()).await.unwrap();
        assert_eq!(figures.iter().map(|(_, figures)| figures.letters).sum::<u64>(), 6000, "{store:?}");
        let stream = mailbox().stream("public.t3");
        let letters = store.read(&stream, LetterId::default()..end(), 10_000).await.unwrap();
        assert!(letters.is_sorted_by_key(|letter| letter.id), "{store:?}");
        let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
        assert_eq!(store.remove(&owner(1), &stream, &ids).await.unwrap(), ids.len() as u64, "{store:?}");
    }
}
