//! The store in etcd. One connection per member, and one member at a time: the client library's balancer would go on
//! asking a dead member for its share of the requests.

mod convert;
mod members;
mod watching;

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, ConnectOptions, GetOptions, TlsOptions, WatchOptions};
use tokio::{sync::mpsc, task::JoinSet};

use self::{convert::Failure, members::Members};
use super::{Answer, Entry, LeaseId, Listing, Revision, Store, StoreError, Txn, Watch, watch::WAITING};

/// The largest listing or group of changes that is accepted, in bytes: some 10,000 definitions.
const MAX_MESSAGE: usize = 64 << 20;

/// How to reach etcd.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// `http://host:port` or `https://host:port`, one for each member.
    pub endpoints: Vec<String>,
    pub user: Option<(String, String)>,
    /// For `https` endpoints whose authority is not among the system's, or that want a client certificate.
    pub tls: Option<TlsOptions>,
}

impl EtcdOptions {
    /// The members at `endpoints`, without user and certificates.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> EtcdOptions {
        EtcdOptions { endpoints: endpoints.into_iter().map(Into::into).collect(), user: None, tls: None }
    }

    fn connect_options(&self) -> ConnectOptions {
        // A member that is frozen or cut off closes no connection: only probes find out. And a member without a
        // leader would answer watches from what it knew, hence require_leader.
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(1))
            .with_tcp_keepalive(Duration::from_secs(2))
            .with_keep_alive(Duration::from_secs(2), Duration::from_secs(2))
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        let options = match &self.tls {
            Some(tls) => options.with_tls(tls.clone()),
            None => options,
        };
        match &self.user {
            Some((name, password)) => options.with_user(name, password),
            None => options,
        }
    }
}

/// etcd, version 3.4 or later. Connects when it is first used, and again for ever.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    members: Arc<Members>,
}

impl EtcdStore {
    /// The store at `options`; nothing is connected yet.
    #[must_use]
    pub fn new(options: EtcdOptions) -> EtcdStore {
        EtcdStore { members: Arc::new(Members::new(options)) }
    }

    async fn open_watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(from.0);
        let stream = self
            .members
            .read(|client: Client| {
                let options = options.clone();
                async move {
                    let mut watches = client.watch_client().max_decoding_message_size(MAX_MESSAGE);
                    watches.watch(prefix, Some(options)).await
                }
            })
            .await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut source = JoinSet::new();
        source.spawn(watching::forward(stream, Arc::clone(&self.members), sender));
        Ok(Watch::new(receiver, source))
    }
}

impl Store for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let answer =
                self.members.read(|client: Client| async move { client.kv_client().get(key, None).await }).await?;
            Ok(answer.kvs().first().map(convert::entry))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(async move {
            let list = |client: Client| async move {
                let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                kv.get(prefix, Some(GetOptions::new().with_prefix())).await
            };
            let answer = self.members.read(list).await?;
            let revision = Revision(answer.header().map_or(0, |header| header.revision()));
            Ok(Listing { entries: answer.kvs().iter().map(convert::entry).collect(), revision })
        })
    }

    fn txn(&self, txn: Txn) -> Answer<'_, Revision> {
        Box::pin(async move {
            let txn = convert::txn(txn);
            let write = |client: Client| {
                let txn = txn.clone();
                async move { client.kv_client().txn(txn).await }
            };
            let answer = self.members.write(write).await?;
            let revision = Revision(answer.header().map_or(0, |header| header.revision()));
            if answer.succeeded() { Ok(revision) } else { Err(StoreError::Conflict) }
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Answer<'a, Watch> {
        Box::pin(self.open_watch(prefix, from))
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, LeaseId> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        Box::pin(async move {
            // Like a read in that it may be tried again: a lease whose answer was lost holds no key, and ends by itself.
            let grant = |client: Client| async move { client.lease_client().grant(seconds, None).await };
            self.members.read(grant).await.map(|answer| LeaseId(answer.id()))
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            // A stream for each renewal, and its first answer awaited: a stream that is kept can die unnoticed.
            let renew = |client: Client| async move { client.lease_client().keep_alive(lease.0).await.map(drop) };
            self.members.read(renew).await
        })
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            let revoke = |client: Client| async move { client.lease_client().revoke(lease.0).await.map(drop) };
            match self.members.read(revoke).await {
                Err(StoreError::LeaseGone) => Ok(()),
                answer => answer,
            }
        })
    }

    fn apart(&self) -> Arc<dyn Store> {
        Arc::new(EtcdStore { members: Arc::new(self.members.apart()) })
    }
}
