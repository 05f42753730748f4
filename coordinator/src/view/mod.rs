//! All records of a cluster, as one picture that is kept up to date. Level-triggered: watches make it quick, listing
//! anew every [`LIST_EVERY`] makes it right, whatever a watch has lost.
//!
//!     list -> publish -> watch from there: changes -> publish -> ... -> time to list, or the watch broke: list again

mod picture;

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

pub use self::picture::{LeaderRecord, Recorded, View};
use crate::{
    records::Keys,
    store::{Listing, Revision, Store, StoreError, Watch},
};

/// How long a change that a watch has lost stays unknown.
pub const LIST_EVERY: Duration = Duration::from_secs(5);
/// After a failure of the store.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Whether the picture is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Nothing was read yet.
    Never,
    /// It was read at `listed`, and is watched.
    Current { listed: SystemTime },
    /// The store does not answer; the picture is what was known then.
    Away { since: SystemTime, error: StoreError },
}

/// The picture of one cluster, kept by a task that ends when this is dropped.
#[derive(Debug)]
pub struct Views {
    view: watch::Receiver<Arc<View>>,
    contact: watch::Receiver<Contact>,
    // Aborted on drop.
    _task: JoinSet<()>,
}

impl Views {
    /// Starts to keep the picture of the cluster of `keys`.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, keys: Keys) -> Views {
        let (view, views) = watch::channel(Arc::new(View::default()));
        let (contact, contacts) = watch::channel(Contact::Never);
        let mut task = JoinSet::new();
        task.spawn(Keeper { store, keys, view, contact }.run());
        Views { view: views, contact: contacts, _task: task }
    }

    /// The picture now. Before anything was read it is empty, with revision 0.
    #[must_use]
    pub fn now(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Changes with each picture that differs from the one before; the one that is there already counts as a change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    #[must_use]
    pub fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.clone()
    }

    /// Waits until the picture is that of `revision` or later; `Revision(1)`: until it is one at all. For those who have
    /// written and want to see it. Cancel-safe.
    pub async fn reached(&self, revision: Revision) -> Arc<View> {
        let mut views = self.view.clone();
        // The task lives as long as this.
        let view = views.wait_for(|view| view.revision >= revision).await.map(|view| Arc::clone(&view));
        view.unwrap_or_else(|_| self.now())
    }
}

/// The task that keeps a picture.
struct Keeper {
    store: Arc<dyn Store>,
    keys: Keys,
    view: watch::Sender<Arc<View>>,
    contact: watch::Sender<Contact>,
}

impl Keeper {
    async fn run(self) {
        // The watch goes on while we list: a change between the two is in one of them, or in both.
        let mut watch = None;
        loop {
            match self.round(&mut watch).await {
                Ok(()) => {}
                // Only the watch is affected: a listing helps.
                Err(StoreError::Compacted(_)) => watch = None,
                Err(error) => {
                    watch = None;
                    self.away(error);
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Lists, then follows the watch until it is time to list again.
    async fn round(&self, watch: &mut Option<Watch>) -> Result<(), StoreError> {
        let listing = self.store.list(self.keys.root()).await?;
        let revision = listing.revision;
        // A member that lags behind cannot answer (reads are linearizable); a store that was restored can. The old watch
        // would wait for revisions to come.
        if revision < self.view.borrow().revision {
            tracing::warn!(%revision, "the store was set back; its records are taken as they are");
            *watch = None;
        }
        self.listed(&listing);
        let again = Instant::now() + LIST_EVERY;
        let watch = match watch {
            Some(watch) => watch,
            None => watch.insert(self.store.watch(self.keys.root(), revision.next()).await?),
        };
        while let ControlFlow::Continue(()) = self.follow(watch, again).await? {}
        Ok(())
    }

    async fn follow(&self, watch: &mut Watch, again: Instant) -> Result<ControlFlow<()>, StoreError> {
        let Ok(changes) = timeout_at(again, watch.next()).await else { return Ok(ControlFlow::Break(())) };
        let changes = changes?;
        let mut next = View::clone(&self.view.borrow());
        next.apply(&self.keys, &changes);
        self.publish(next);
        Ok(ControlFlow::Continue(()))
    }

    fn listed(&self, listing: &Listing) {
        let last = Arc::clone(&self.view.borrow());
        self.publish(View::of(&self.keys, listing, &last));
        self.contact.send_replace(Contact::Current { listed: SystemTime::now() });
    }

    fn publish(&self, next: View) {
        for (key, reason) in &next.malformed {
            if self.view.borrow().malformed.get(key) != Some(reason) {
                tracing::warn!(key, reason, "a record cannot be read and is left out; repair or delete it");
            }
        }
        self.view.send_if_modified(|view| {
            let is_news = **view != next;
            if is_news {
                *view = Arc::new(next);
            }
            is_news
        });
    }

    fn away(&self, error: StoreError) {
        self.contact.send_if_modified(|contact| {
            if matches!(contact, Contact::Away { .. }) {
                return false;
            }
            tracing::warn!(%error, "the cluster's records cannot be read; going on with what is known");
            *contact = Contact::Away { since: SystemTime::now(), error };
            true
        });
    }
}
