//! Where callers hand in what they want done with letters. Only the lane that writes to a destination may do it: it knows
//! what waits there, and holds the fence.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    letter::{LetterName, Mailbox},
    store::{DeadLetterStore, StoreError},
};

/// Requests that may wait for one lane.
const QUEUE: usize = 16;
/// How long a lane may take to answer: it finishes its batch first.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What a lane is asked to do.
#[derive(Debug)]
pub enum DeskCommand {
    /// Try all letters of these tables now.
    Replay { tables: Vec<String> },
    /// Give these up. The lane answers how many of them it had.
    Discard { letters: Vec<LetterName>, done: oneshot::Sender<Result<u64, String>> },
}

/// Why nothing could be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    #[error("pipeline {pipeline} does not write to {destination} at the moment: try again when it runs")]
    NotRunning { pipeline: String, destination: String },
    #[error("pipeline {pipeline} did not come to it within {} s; it may still: look again before you repeat it", ANSWER_WITHIN.as_secs())]
    NoAnswer { pipeline: String },
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The letters of a process: their store, and the lanes that can do something about them.
pub struct Desk {
    pub store: Arc<dyn DeadLetterStore>,
    lanes: Mutex<HashMap<(Mailbox, usize), mpsc::Sender<DeskCommand>>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Desk").field(&self.store).finish()
    }
}

impl Desk {
    pub fn new(store: Arc<dyn DeadLetterStore>) -> Desk {
        Desk { store, lanes: Mutex::default() }
    }

    /// From now on this lane takes requests.
    pub fn open(&self, mailbox: &Mailbox, worker: usize) -> mpsc::Receiver<DeskCommand> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.lanes().insert((mailbox.clone(), worker), sender);
        receiver
    }

    /// Asks every lane of the mailbox to try the letters of these tables.
    ///
    /// # Errors
    /// No lane runs.
    pub async fn replay(&self, mailbox: &Mailbox, tables: &[String]) -> Result<(), DeskError> {
        for lane in self.lanes_of(mailbox)? {
            let wanted = DeskCommand::Replay { tables: tables.to_vec() };
            timeout(ANSWER_WITHIN, lane.send(wanted))
                .await
                .map_err(|_| no_answer(mailbox))?
                .map_err(|_| not_running(mailbox))?;
        }
        Ok(())
    }

    /// Gives letters of one mailbox up; how many there were.
    ///
    /// # Errors
    /// No lane runs, or it could not.
    pub async fn discard(&self, mailbox: &Mailbox, letters: &[LetterName]) -> Result<u64, DeskError> {
        let mut discarded = 0;
        for lane in self.lanes_of(mailbox)? {
            let (done, answer) = oneshot::channel();
            let wanted = DeskCommand::Discard { letters: letters.to_vec(), done };
            let ask = async {
                lane.send(wanted).await.map_err(|_| not_running(mailbox))?;
                answer.await.map_err(|_| not_running(mailbox))?.map_err(DeskError::Failed)
            };
            discarded += timeout(ANSWER_WITHIN, ask).await.map_err(|_| no_answer(mailbox))??;
        }
        Ok(discarded)
    }

    fn lanes_of(&self, mailbox: &Mailbox) -> Result<Vec<mpsc::Sender<DeskCommand>>, DeskError> {
        let lanes = self.lanes();
        let open = lanes.iter().filter(|((of, _), lane)| of == mailbox && !lane.is_closed());
        let open: Vec<_> = open.map(|(_, lane)| lane.clone()).collect();
        if open.is_empty() { Err(not_running(mailbox)) } else { Ok(open) }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<(Mailbox, usize), mpsc::Sender<DeskCommand>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_running(mailbox: &Mailbox) -> DeskError {
    let Mailbox { pipeline, destination } = mailbox.clone();
    DeskError::NotRunning { pipeline, destination }
}

fn no_answer(mailbox: &Mailbox) -> DeskError {
    DeskError::NoAnswer { pipeline: mailbox.pipeline.clone() }
}
