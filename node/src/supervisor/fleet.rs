use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::{Wish, supervise, watch_slot};
use crate::{
    dead_letters::{Desk, Mailbox},
    pipeline::{PipelineError, job::Job},
};

/// How a pipeline's life in this process ended.
#[derive(Debug)]
pub enum Ending {
    /// It was asked to stop.
    Stopped,
    /// Trying again does not help.
    GaveUp { pipeline: String, error: PipelineError },
}

/// The pipelines of this process; one never disturbs another.
pub struct Fleet {
    members: Vec<Member>,
}

/// A pipeline and what is wanted of it.
pub struct Member {
    pub job: Job,
    wish: watch::Sender<Wish>,
}

impl Member {
    pub fn pause(&self) {
        self.wish.send_modify(|wish| wish.is_paused = true);
    }

    pub fn resume(&self) {
        self.wish.send_modify(|wish| wish.is_paused = false);
    }

    /// Stops it gently and starts it again; one that gave up tries anew. A paused one stays paused.
    pub fn restart(&self) {
        self.wish.send_modify(|wish| wish.restarts += 1);
    }

    pub fn is_paused(&self) -> bool {
        self.wish.borrow().is_paused
    }
}

/// A pipeline gave up, or runs again because somebody wished it.
struct Report {
    index: usize,
    gave_up: Option<PipelineError>,
}

impl Fleet {
    pub fn new(jobs: Vec<Job>) -> Fleet {
        let member = |job| Member { job, wish: watch::Sender::new(Wish::default()) };
        Fleet { members: jobs.into_iter().map(member).collect() }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The letters of its pipelines, if it keeps any.
    pub fn desk(&self) -> Option<Arc<Desk>> {
        self.members.iter().find_map(|member| member.job.desk.clone())
    }

    /// Where letters of its pipelines may wait.
    pub fn mailboxes(&self) -> Vec<Mailbox> {
        let of_member = |member: &Member| {
            let definition = &member.job.definition;
            let mailbox = |destination: &String| Mailbox::new(&definition.name, destination);
            definition.destinations.iter().map(mailbox).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of_member).collect()
    }

    pub fn find(&self, pipeline: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.job.definition.name == pipeline)
    }

    /// Runs every pipeline in a task of its own until cancelled, or until all have given up.
    pub async fn run(&self, cancel: CancellationToken) -> Vec<Ending> {
        let (sender, mut reports) = mpsc::channel(self.members.len().max(1));
        let mut tasks = JoinSet::new();
        let mut ids = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            let span = info_span!("pipeline", pipeline = member.job.definition.name);
            let (job, wish) = (member.job.clone(), member.wish.subscribe());
            let (stop, sender) = (cancel.child_token(), sender.clone());
            let kept = async move {
                tokio::select! {
                    () = keep(index, &job, wish, stop, sender) => {}
                    never = watch_slot(&job) => match never {},
                }
            };
            ids.push(tasks.spawn(kept.instrument(span)).id());
        }
        let mut gave_up: Vec<Option<PipelineError>> = self.members.iter().map(|_| None).collect();
        loop {
            let report = tokio::select! {
                Some(report) = reports.recv() => Some(report),
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(ended) => ended.err().and_then(|panic| panicked(&ids, &panic)),
                },
            };
            if let Some(report) = report {
                gave_up[report.index] = report.gave_up;
            }
            if gave_up.iter().all(Option::is_some) {
                cancel.cancel();
            }
        }
        let endings = gave_up.into_iter().zip(&self.members).map(|(error, member)| match error {
            Some(error) => Ending::GaveUp { pipeline: member.job.definition.name.clone(), error },
            None => Ending::Stopped,
        });
        endings.collect()
    }
}

fn panicked(ids: &[task::Id], panic: &task::JoinError) -> Option<Report> {
    let index = ids.iter().position(|id| *id == panic.id())?;
    let error = PipelineError::Internal(format!("a pipeline's task ended abnormally: {panic}"));
    Some(Report { index, gave_up: Some(error) })
}

/// Keeps a pipeline as it is wished. One that gave up waits for another wish.
async fn keep(
    index: usize,
    job: &Job,
    mut wish: watch::Receiver<Wish>,
    cancel: CancellationToken,
    reports: mpsc::Sender<Report>,
) {
    while let Err(error) = supervise(job, None, &mut wish, &cancel).await {
        // The receiver is there for as long as this task.
        let _ = reports.send(Report { index, gave_up: Some(error) }).await;
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = wish.changed() => {}
        }
        let _ = reports.send(Report { index, gave_up: None }).await;
    }
}
