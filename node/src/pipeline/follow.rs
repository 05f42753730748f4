use std::{future::ready, sync::Arc, time::Duration};

use rosetta_proto::Lsn;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    PipelineError,
    batch::Batch,
    intake::{Catalog, Intake, IntakeError},
    job::Job,
    lane::{LaneReport, Role, run_lane},
    pace::Pace,
    progress::Progress,
    status::Status,
};
use crate::{
    destination::DestinationError,
    postgres::PgError,
    source::stream::{Confirmation, ReplicationStream, postgres_micros_now},
};

/// On a stream this far behind, latency is lost already; throughput is what helps.
const BEHIND_MICROS: i64 = 250_000;

/// How long changes of a stream that is behind may wait for company, if PIPELINE_POLL_INTERVAL_MS allows it.
const GATHER: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_secs(1);
/// The source is asked for a sign of life when it was silent for so long…
const SILENCE_ASK: Duration = Duration::from_secs(5);
/// …and given up when it stays silent. A WAL sender that decodes a large transaction of which nothing is
/// published answers only after half of wal_sender_timeout, 30 s by default.
const SILENCE_END: Duration = Duration::from_secs(60);
/// Between two confirmations while changes flow.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);
/// Log of no interest that is read before the checkpoint is moved for it.
const REST_BYTES: u64 = 16 * 1024 * 1024;
/// For batches in flight to be committed when the pipeline is stopped.
const STOP_GRACE: Duration = Duration::from_millis(1500);

/// A lane to be run: what it does, and where it stands.
pub struct LaneStart {
    pub worker: usize,
    pub destination: String,
    /// Everything before this is safe: at the destination, or in the store of dead letters.
    pub position: Lsn,
    pub(super) role: Role,
}

/// Everything that following a stream needs.
pub struct Follow {
    pub stream: ReplicationStream,
    pub lanes: Vec<LaneStart>,
    pub catalog: Catalog,
    /// One ends when it is time to start anew: a destination that was away may be back.
    pub watchers: JoinSet<()>,
    pub job: Job,
}

/// Why following ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// It is to be started again at once.
    StartAnew,
}

pub(super) struct LaneHandle {
    worker: usize,
    pub(super) destination: String,
    /// None while its destination is away: its changes stay in the source's log.
    pub(super) batches: Option<mpsc::Sender<Arc<Batch>>>,
    pub(super) outstanding: usize,
    /// When it was last given a batch while it had none, or was done with one.
    pub(super) moved_at: Instant,
    /// Changes that wait outside of its destination.
    letters: u64,
    /// It took nothing for too long, and may yet finish what it has.
    pub(super) is_stuck: bool,
}

pub(super) struct Follower {
    stream: ReplicationStream,
    intake: Intake,
    pub(super) lanes: Vec<LaneHandle>,
    pub(super) watchers: JoinSet<()>,
    pub(super) job: Job,
    workers: usize,
    pub(super) progress: Progress,
    pub(super) status: Arc<Status>,
    pub(super) started_at: Instant,
    confirmed: Confirmation,
    confirmed_at: Instant,
    heard_at: Instant,
    pace: Pace,
    /// Until when bytes are left to gather.
    read_at: Option<Instant>,
    /// When the oldest change that waits for company was first seen, a worker each.
    gathering_since: Vec<Option<Instant>>,
    /// How long it may wait.
    gather: Duration,
}

/// Follows the stream until cancelled.
///
/// # Errors
/// The first failure of the stream or of a lane.
pub async fn follow(start: Follow, cancel: CancellationToken) -> Result<Ended, PipelineError> {
    let (report_sender, mut reports) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    let positions: Vec<Lsn> = start.lanes.iter().map(|lane| lane.position).collect();
    let mut lanes = Vec::with_capacity(start.lanes.len());
    for (index, lane) in start.lanes.into_iter().enumerate() {
        let LaneStart { worker, destination, role, .. } = lane;
        let batches = if matches!(role, Role::Held) {
            None
        } else {
            let (batches, receiver) = mpsc::channel(2);
            let (name, reports) = (destination.clone(), report_sender.clone());
            tasks.spawn(async move { (name, run_lane(index, role, receiver, reports).await) });
            Some(batches)
        };
        lanes.push(LaneHandle {
            worker,
            destination,
            batches,
            outstanding: 0,
            moved_at: Instant::now(),
            letters: 0,
            is_stuck: false,
        });
    }
    drop(report_sender);
    let now = Instant::now();
    let progress = Progress::new(&positions);
    let (workers, limits) = (start.job.definition.apply_workers, start.job.limits);
    let mut follower = Follower {
        stream: start.stream,
        intake: Intake::new(start.catalog, workers, limits, progress.received_lsn()),
        lanes,
        watchers: start.watchers,
        workers,
        progress,
        status: Arc::clone(&start.job.status),
        job: start.job,
        started_at: now,
        confirmed: Confirmation::default(),
        confirmed_at: now,
        heard_at: now,
        pace: Pace::default(),
        read_at: None,
        gathering_since: vec![None; workers],
        gather: limits.wait.min(GATHER),
    };
    let result = follower.run(&mut reports, &mut tasks, &cancel).await;
    follower.stop(reports, tasks, result.is_ok()).await;
    result
}

/// The lanes' tasks: whose each was, and how it ended.
type Tasks = JoinSet<(String, Result<(), DestinationError>)>;

impl Follower {
    async fn run(
        &mut self,
        reports: &mut mpsc::Receiver<LaneReport>,
        tasks: &mut Tasks,
        cancel: &CancellationToken,
    ) -> Result<Ended, PipelineError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_in().await?;
            let wake = self.dispatch();
            let may_read = !self.intake.is_full();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(Ended::Stopped),
                Some(ended) = tasks.join_next() => self.lane_ended(ended)?,
                Some(_) = self.watchers.join_next() => return Ok(Ended::StartAnew),
                Some(report) = reports.recv() => if self.reported(report).await? { return Ok(Ended::StartAnew) },
                _ = tick.tick() => if self.tick().await? { return Ok(Ended::StartAnew) },
                () = sleep_until(wake), if wake > Instant::now() => {}
                () = sleep_until(self.read_at.unwrap_or(wake)), if self.read_at.is_some() => self.read_at = None,
                filled = self.stream.fill(), if may_read && self.read_at.is_none() => self.filled(filled?),
                // Reached when the socket is empty, since it comes last.
                () = ready(()), if may_read && self.pace.has_burst() => self.drained(),
            }
        }
    }

    /// Turns what was read into changes.
    async fn take_in(&mut self) -> Result<(), PipelineError> {
        let intake = &mut self.intake;
        if !intake.is_full() {
            self.stream.drain(|event| intake.take(event)).map_err(|error: IntakeError| PipelineError::from(error))?;
        }
        self.progress.received(self.intake.received());
        if self.intake.take_reply_wanted() {
            self.confirm(false).await?;
        }
        Ok(())
    }

    fn filled(&mut self, bytes: usize) {
        self.heard_at = Instant::now();
        self.pace.read(bytes);
    }

    /// The socket was found empty.
    fn drained(&mut self) {
        let pause = self.pace.drained(self.intake.take_message_count());
        let is_patient =
            self.is_behind() || self.lanes.iter().all(|lane| lane.outstanding > 0 || lane.batches.is_none());
        self.read_at = pause.filter(|_| is_patient).map(|pause| Instant::now() + pause);
    }

    /// The stream brings what was committed a while ago. Two clocks are compared; where they differ, changes
    /// are a few milliseconds slower or dearer, never wrong.
    fn is_behind(&self) -> bool {
        self.intake.committed_at().is_some_and(|at| postgres_micros_now() - at > BEHIND_MICROS)
    }

    /// Gives lanes what is ready for them; returns when to look again at the latest.
    fn dispatch(&mut self) -> Instant {
        let now = Instant::now();
        let mut wake = now + TICK;
        for worker in 0..self.workers {
            let load = self.load(worker);
            if load < 2
                && let Some(batch) = self.intake.full_batch(worker)
            {
                self.gathering_since[worker] = None;
                self.send(worker, batch);
                continue;
            }
            if load > 0 {
                continue;
            }
            let is_behind = self.is_behind();
            if let Some(builder) = self.intake.gathered(worker) {
                let since = *self.gathering_since[worker].get_or_insert(now);
                if is_behind && now < since + self.gather {
                    wake = wake.min(since + self.gather);
                    continue;
                }
                let batch = builder.take();
                self.gathering_since[worker] = None;
                self.send(worker, batch);
            } else if self.intake.advance_wanted() || self.rest_distance(worker) >= REST_BYTES {
                self.rest(worker);
            }
        }
        // A lane that was busy rests later: the wish stays until every lane was given everything.
        if (0..self.workers).all(|worker| self.rest_distance(worker) == 0) {
            self.intake.clear_advance_wanted();
        }
        wake
    }

    fn rest_distance(&self, worker: usize) -> u64 {
        let takes = |lane: &LaneHandle| lane.worker == worker && lane.batches.is_some();
        let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| takes(lane));
        lanes.map(|(index, _)| self.progress.idle_distance(index)).max().unwrap_or(0)
    }

    fn rest(&mut self, worker: usize) {
        if self.rest_distance(worker) > 0
            && let Some(batch) = self.intake.rest_batch(worker)
        {
            self.send(worker, batch);
        }
    }

    /// Batches that the slowest destination of `worker` has not finished.
    fn load(&self, worker: usize) -> usize {
        self.lanes.iter().filter(|lane| lane.worker == worker).map(|lane| lane.outstanding).max().unwrap_or(0)
    }

    fn send(&mut self, worker: usize, batch: Batch) {
        let batch = Arc::new(batch);
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.worker == worker) {
            let Some(batches) = &lane.batches else { continue };
            if let Some(end) = batch.end {
                self.progress.sent(index, end.lsn);
            }
            // The queue holds two and no more are outstanding; a lane that has ended is seen by its task.
            if batches.try_send(Arc::clone(&batch)).is_ok() {
                if lane.outstanding == 0 {
                    lane.moved_at = Instant::now();
                }
                lane.outstanding += 1;
            }
        }
    }

    /// Whether it is time to start anew: a destination that took nothing for long does again.
    async fn reported(&mut self, report: LaneReport) -> Result<bool, PipelineError> {
        self.progress.applied(report.lane, report.committed, report.durable);
        if let Some(lane) = self.lanes.get_mut(report.lane)
            && lane.letters != report.letters
        {
            lane.letters = report.letters;
            let letters = self.lanes.iter().map(|lane| lane.letters).sum();
            self.status.update(|figures| figures.dead_letters = letters);
        }
        if let (Some(batch), Some(lane)) = (report.batch, self.lanes.get_mut(report.lane)) {
            (lane.outstanding, lane.moved_at) = (lane.outstanding.saturating_sub(1), Instant::now());
            let micros = batch.committed_at.map(|at| u64::try_from(postgres_micros_now() - at).unwrap_or(0));
            self.status.update(|figures| {
                figures.changes += batch.changes as u64;
                figures.bytes += batch.bytes as u64;
                figures.batches += 1;
                figures.write_micros += batch.write_micros;
                figures.missing_rows += batch.missing_rows;
                if let Some(micros) = micros {
                    figures.latency.record(micros, batch.changes as u64);
                    figures.lag_ms = micros / 1000;
                }
            });
        }
        let committed = self.progress.committed();
        let received = self.progress.received_lsn();
        self.status.update(|figures| {
            figures.committed_lsn = committed;
            figures.source_lsn = figures.source_lsn.max(received);
        });
        if self.confirmed_at.elapsed() >= CONFIRM_EVERY && self.progress.confirmable() > self.confirmed.durable {
            self.confirm(false).await?;
        }
        let moves_again = self.lanes.get(report.lane).filter(|lane| lane.is_stuck && report.batch.is_some());
        if let Some(lane) = moves_again {
            self.job.outages.answered(&lane.destination);
        }
        Ok(moves_again.is_some())
    }

    /// Whether it is time to start anew.
    async fn tick(&mut self) -> Result<bool, PipelineError> {
        let silence = self.heard_at.elapsed();
        if silence >= SILENCE_END && !self.intake.is_full() {
            let reason = format!("the source was silent for {} s", silence.as_secs());
            return Err(PgError::Lost(std::io::Error::new(std::io::ErrorKind::TimedOut, reason)).into());
        }
        let is_idle = self.lanes.iter().all(|lane| lane.outstanding == 0);
        let received = self.progress.received_lsn();
        self.status.update(|figures| {
            figures.source_lsn = figures.source_lsn.max(received);
            if is_idle {
                figures.lag_ms = 0;
            }
        });
        let asks = silence >= SILENCE_ASK;
        if asks || self.progress.confirmable() > self.confirmed.durable || self.confirmed_at.elapsed() >= SILENCE_ASK {
            self.confirm(asks).await?;
        }
        self.hold_stuck();
        Ok(self.is_near_budget())
    }

    async fn confirm(&mut self, wants_reply: bool) -> Result<(), PipelineError> {
        let durable = self.progress.confirmable();
        self.confirmed =
            Confirmation { received: self.progress.received_lsn(), durable, applied: self.progress.committed() };
        self.confirmed_at = Instant::now();
        self.status.update(|figures| figures.confirmed_lsn = durable);
        Ok(self.stream.confirm(self.confirmed, wants_reply).await?)
    }

    /// Lets lanes finish what they have, tells the source, and ends all sessions.
    async fn stop(mut self, mut reports: mpsc::Receiver<LaneReport>, mut tasks: Tasks, in_order: bool) {
        let deadline = Instant::now() + STOP_GRACE;
        self.lanes.clear(); // closes their queues
        while let Ok(Some(report)) = timeout_at(deadline, reports.recv()).await {
            self.progress.applied(report.lane, report.committed, report.durable);
        }
        while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
        tasks.shutdown().await;
        if in_order {
            let _ = timeout_at(deadline, self.confirm(false)).await;
        }
        let _ = timeout_at(deadline, self.stream.close()).await;
    }
}
