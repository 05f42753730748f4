//! A Redis that is unsafe, away, slow, full or forgetful.

use rosetta_node::dead_letters::{Addition, DeadLetterStore, LetterId, RedisStore, StoreError};
use rosetta_tests::{Redis, SOON, eventually};

use super::samples::{TABLE, addition, end, letter, mailbox, owner, step};

#[tokio::test]
async fn one_that_may_lose_letters_is_refused_unless_that_is_accepted() {
    for (settings, word) in [
        (&["--appendonly", "no"][..], "appendonly"),
        (&["--appendonly", "yes", "--appendfsync", "everysec"], "appendfsync"),
        (&["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru"], "noeviction"),
    ] {
        let redis = Redis::with(settings).await;
        let strict = RedisStore::new(&redis.url(), false).unwrap();
        let refused = strict.add(&owner(1), "mirror", addition(vec![letter(5, 0)])).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unsafe(_)) && refused.to_string().contains(word), "{refused}");
        let lenient = RedisStore::new(&redis.url(), true).unwrap();
        lenient.add(&owner(1), "mirror", addition(vec![letter(5, 0)])).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_one_says_so_and_keeps_what_it_has() {
    let redis = Redis::start().await;
    let store = RedisStore::new(&redis.url(), false).unwrap();
    store.add(&owner(1), "mirror", addition(vec![letter(5, 0)])).await.unwrap();
    redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let full = store.add(&owner(1), "mirror", addition(vec![letter(6, 0)])).await.unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    store.add(&owner(1), "mirror", addition(vec![letter(6, 0)])).await.unwrap();
    let letters = store.read(&mailbox().stream(TABLE), LetterId::default()..end(), 9).await.unwrap();
    assert_eq!(letters, [letter(5, 0), letter(6, 0)]);
}

/// Whatever was acknowledged is there after a crash, and what was tried meanwhile is there once.
#[tokio::test]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let mut redis = Redis::start().await;
    let store = RedisStore::new(&redis.url(), false).unwrap();
    for round in 1..=10u64 {
        store.add(&owner(1), "mirror", addition(vec![letter(round, 0)])).await.unwrap();
        redis.kill();
        let away = store.add(&owner(1), "mirror", addition(vec![letter(round, 1)])).await.unwrap_err();
        assert!(matches!(away, StoreError::Unavailable { .. }), "{away}");
        redis.start_again().await;
        let retry = async || store.add(&owner(1), "mirror", addition(vec![letter(round, 1)])).await;
        eventually(SOON, "redis takes letters again", async || retry().await.map_err(|error| error.to_string())).await;
    }
    let letters = store.read(&mailbox().stream(TABLE), LetterId::default()..end(), 99).await.unwrap();
    let expected: Vec<_> = (1..=10).flat_map(|round| [letter(round, 0), letter(round, 1)]).collect();
    assert_eq!(letters, expected);
}

/// A request whose answer does not come in time may have been done: it is made again, and nothing is twice.
#[tokio::test]
async fn one_that_hangs_is_waited_for_no_longer_than_the_deadline() {
    let redis = Redis::start().await;
    let store = RedisStore::new(&redis.url(), false).unwrap();
    store.add(&owner(1), "mirror", addition(vec![letter(1, 0)])).await.unwrap();
    redis.pause();
    let hanging = store.add(&owner(1), "mirror", addition(vec![letter(2, 0)])).await.unwrap_err();
    assert!(matches!(hanging, StoreError::Unavailable { .. }), "{hanging}");
    redis.resume();
    store.add(&owner(1), "mirror", addition(vec![letter(2, 0)])).await.unwrap();
    let letters = store.read(&mailbox().stream(TABLE), LetterId::default()..end(), 9).await.unwrap();
    assert_eq!(letters, [letter(1, 0), letter(2, 0)]);
}

#[tokio::test]
async fn one_that_comes_back_empty_is_found_out() {
    let redis = Redis::start().await;
    let store = RedisStore::new(&redis.url(), false).unwrap();
    let owner = owner(1);
    let spill = |from, to| {
        let addition = Addition { spill: Some(step(from, to)), ..addition(vec![letter(to, 0)]) };
        store.add(&owner, "mirror", addition)
    };
    spill(None, 10).await.unwrap();
    redis.ask::<String>(&["FLUSHALL"]).await;
    let lost = spill(Some(10), 20).await.unwrap_err();
    assert!(matches!(lost, StoreError::Forgotten { .. }), "{lost}");
}
