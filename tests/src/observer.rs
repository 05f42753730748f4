//! Watches a value that must never change, as any reader of the destination could.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task::JoinHandle;

use crate::postgres::{Postgres, rows};

pub struct Observer {
    stop: Arc<AtomicBool>,
    watching: JoinHandle<Result<u64, String>>,
}

impl Observer {
    /// Asks `query` again and again; its first value must always be `expected`.
    pub async fn start(server: &Postgres, db: &str, query: &'static str, expected: String) -> Observer {
        let client = server.client(db).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watching = tokio::spawn(async move {
            let mut looks = 0;
            while !stopped.load(Ordering::Relaxed) {
                let seen = rows(&client, query).await.remove(0).remove(0).unwrap_or_default();
                looks += 1;
                if seen != expected {
                    return Err(format!("look {looks} saw {seen}, not {expected}"));
                }
            }
            Ok(looks)
        });
        Observer { stop, watching }
    }

    /// Panics when the value was ever another one. Answers how often it looked.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let watched = self.watching.await.expect("the observer does not panic");
        watched.unwrap_or_else(|wrong| panic!("the observer at the destination: {wrong}"))
    }
}
