//! Which member is asked, for how long, and what comes after it.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use etcd_client::{Client, Error};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep_until, timeout_at},
};

use super::{EtcdOptions, Failure};
use crate::store::{REQUEST_DEADLINE, StoreError};

/// Between two attempts once each member was asked: the time that a restarting one needs to listen.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Members {
    options: EtcdOptions,
    /// In the order of the endpoints. A client connects when it is used, and again for ever.
    clients: Vec<OnceCell<Client>>,
    /// Counts up; the member at this number, modulo their count, is asked next.
    current: AtomicUsize,
}

// The options hold a password.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("endpoints", &self.options.endpoints).finish_non_exhaustive()
    }
}

impl Members {
    pub(super) fn new(options: EtcdOptions) -> Members {
        let clients = options.endpoints.iter().map(|_| OnceCell::new()).collect();
        Members { options, clients, current: AtomicUsize::new(0) }
    }

    /// The same members by connections of their own.
    pub(super) fn apart(&self) -> Members {
        Members::new(self.options.clone())
    }

    /// Asks one member after the other until one answers or the deadline is over. For what may be done twice.
    pub(super) async fn read<T, A>(&self, ask: impl Fn(Client) -> A) -> Result<T, StoreError>
    where
        A: Future<Output = Result<T, Error>>,
    {
        let end = Instant::now() + REQUEST_DEADLINE;
        let share = REQUEST_DEADLINE / u32::try_from(self.clients.len().max(1)).unwrap_or(u32::MAX);
        loop {
            let attempt = self.ask(&ask, end.min(Instant::now() + share)).await;
            match attempt {
                Err(Failure::NotSent(cause) | Failure::NoAnswer(cause)) => self.pause(end, cause).await?,
                Err(Failure::Answered(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Asks until a member has surely got the request; what it did with it may stay unknown.
    pub(super) async fn write<T, A>(&self, ask: impl Fn(Client) -> A) -> Result<T, StoreError>
    where
        A: Future<Output = Result<T, Error>>,
    {
        let end = Instant::now() + REQUEST_DEADLINE;
        loop {
            match self.ask(&ask, end).await {
                Err(Failure::NotSent(cause)) => self.pause(end, cause).await?,
                Err(Failure::NoAnswer(cause)) => return Err(self.unavailable(cause).of_a_write()),
                Err(Failure::Answered(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// One attempt, on the current member; without an answer the next one becomes current.
    async fn ask<T, A>(&self, ask: &impl Fn(Client) -> A, end: Instant) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Error>>,
    {
        let number = self.current.load(Ordering::Relaxed);
        let member = number % self.clients.len().max(1);
        let attempt = async {
            let client = self.client(member).await?;
            ask(client).await.map_err(|error| Failure::of(error, &self.place()))
        };
        let answer = timeout_at(end, attempt).await;
        let answer = answer.unwrap_or_else(|_| Err(Failure::NoAnswer("no answer in time".to_owned())));
        if matches!(answer, Err(Failure::NotSent(_) | Failure::NoAnswer(_))) {
            self.leave(number);
        }
        answer
    }

    /// The member asked at `number` is not asked next, unless others have moved on already.
    fn leave(&self, number: usize) {
        let next = number.wrapping_add(1);
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Leaves the member that is current: something that had run on it has failed.
    pub(super) fn leave_current(&self) {
        self.leave(self.current.load(Ordering::Relaxed));
    }

    async fn client(&self, member: usize) -> Result<Client, Failure> {
        let (Some(endpoint), Some(client)) = (self.options.endpoints.get(member), self.clients.get(member)) else {
            return Err(Failure::NotSent("no endpoint is given".to_owned()));
        };
        let connect = || Client::connect([endpoint], Some(self.options.connect_options()));
        match client.get_or_try_init(connect).await {
            Ok(client) => Ok(client.clone()),
            // With a user, connecting logs in. The request itself was not sent, whatever happened.
            Err(error) => Err(Failure::of(error, &self.place()).before_sending()),
        }
    }

    /// Waits before the next attempt, or gives up when the deadline leaves none.
    async fn pause(&self, end: Instant, cause: String) -> Result<(), StoreError> {
        let next = Instant::now() + PAUSE;
        if next >= end {
            return Err(self.unavailable(cause));
        }
        sleep_until(next).await;
        Ok(())
    }

    pub(super) fn unavailable(&self, cause: String) -> StoreError {
        StoreError::Unavailable { place: self.place(), cause }
    }

    fn place(&self) -> String {
        format!("etcd at {}", self.options.endpoints.join(", "))
    }
}
