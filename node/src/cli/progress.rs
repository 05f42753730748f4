use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};
use tracing_subscriber::fmt::MakeWriter;

use crate::pipeline::status::{Figures, State, Status};

const DRAW_EVERY: Duration = Duration::from_millis(500);

/// Live lines on a terminal, a plain line now and then elsewhere.
pub(super) struct Display {
    bars: Option<MultiProgress>,
    every: Duration,
}

impl Display {
    pub(super) fn new(seconds: u64) -> Display {
        let bars = io::stderr().is_terminal().then(MultiProgress::new);
        Display { bars, every: Duration::from_secs(seconds) }
    }

    /// Where log lines go: above the live lines.
    pub(super) fn log_writer(&self) -> LogWriter {
        LogWriter(self.bars.clone())
    }

    /// Shows the figures for ever.
    pub(super) async fn run(self, statuses: Vec<Arc<Status>>) {
        match &self.bars {
            Some(bars) => draw(bars, statuses).await,
            None if self.every.is_zero() => std::future::pending().await,
            None => print(self.every, statuses).await,
        }
    }
}

async fn draw(bars: &MultiProgress, statuses: Vec<Arc<Status>>) {
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let lines: Vec<_> =
        statuses.iter().map(|_| bars.add(ProgressBar::new_spinner().with_style(style.clone()))).collect();
    let mut rates: Vec<_> = statuses.iter().map(|_| Rate::default()).collect();
    loop {
        for ((status, line), rate) in statuses.iter().zip(&lines).zip(&mut rates) {
            let figures = status.figures();
            line.set_message(describe(&status.pipeline, &figures, rate.next(&figures)));
            line.tick();
        }
        sleep(DRAW_EVERY).await;
    }
}

async fn print(every: Duration, statuses: Vec<Arc<Status>>) {
    let mut rates: Vec<_> = statuses.iter().map(|_| Rate::default()).collect();
    loop {
        sleep(every).await;
        for (status, rate) in statuses.iter().zip(&mut rates) {
            let figures = status.figures();
            let per_second = rate.next(&figures);
            if per_second > 0.0 || figures.state != State::Running {
                tracing::info!("{}", describe(&status.pipeline, &figures, per_second));
            }
        }
    }
}

fn describe(pipeline: &str, figures: &Figures, per_second: f64) -> String {
    let state = figures.state.name();
    let mut text = format!("{pipeline}: {state}");
    if figures.rows_copied > 0 {
        text.push_str(&format!(", {} rows copied", figures.rows_copied));
    }
    text.push_str(&format!(
        ", {} changes, {per_second:.0} changes/s, lag {} bytes {} ms",
        figures.changes,
        figures.lag_bytes(),
        figures.lag_ms
    ));
    text
}

/// Rows and changes per second since the last look.
#[derive(Default)]
struct Rate {
    last: Option<(Instant, u64)>,
}

impl Rate {
    fn next(&mut self, figures: &Figures) -> f64 {
        let now = Instant::now();
        let count = figures.changes + figures.rows_copied;
        let rate = self.last.map_or(0.0, |(at, before)| {
            count.saturating_sub(before) as f64 / now.duration_since(at).as_secs_f64().max(0.001)
        });
        self.last = Some((now, count));
        rate
    }
}

/// Writes log lines to standard error without tearing the live lines.
#[derive(Clone)]
pub(super) struct LogWriter(Option<MultiProgress>);

impl Write for LogWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bars) => bars.suspend(|| io::stderr().write(buffer)),
            None => io::stderr().write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        self.clone()
    }
}
