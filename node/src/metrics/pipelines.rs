use std::time::Duration;

use rosetta_proto::Lsn;

use super::{Sheet, names};
use crate::pipeline::status::{Figures, State};

/// What was seen of a slot longer ago is not told any more: the source does not answer.
const SLOT_KNOWN_FOR: Duration = Duration::from_secs(60);

/// Tells of the pipelines of a process, by name.
pub fn tell_pipelines(sheet: &mut Sheet, pipelines: &[(String, Figures)]) {
    for (name, figures) in pipelines {
        tell_state(sheet, name, figures);
        tell_work(sheet, name, figures);
        tell_copy(sheet, name, figures);
        tell_position(sheet, name, figures);
    }
    for (name, figures) in pipelines {
        let seconds = figures.write_micros as f64 / 1e6;
        sheet.count_seconds(&names::BATCH_WRITE_SECONDS, &[name], seconds);
    }
    for (name, figures) in pipelines {
        sheet.distribute(&names::COMMIT_LATENCY, &[name], &figures.latency);
    }
}

fn tell_state(sheet: &Sheet, name: &str, figures: &Figures) {
    let shown = figures.shown_state();
    sheet.flag(&names::PIPELINE_UP, &[name], is_up(shown));
    for state in State::ALL {
        sheet.flag(&names::PIPELINE_STATE, &[name, state.name()], state == shown);
    }
    sheet.set(&names::PIPELINE_EPOCH, &[name], figures.epoch.0 as f64);
    sheet.count(&names::RESTARTS, &[name], figures.restarts);
    let failures = figures.failures;
    let classes = [
        ("transient", failures.transient),
        ("permanent", failures.permanent),
        ("fenced", failures.fenced),
        ("needs_resync", failures.needs_resync),
    ];
    for (class, count) in classes {
        sheet.count(&names::ERRORS, &[name, class], count);
    }
}

fn is_up(state: State) -> bool {
    match state {
        State::Copying | State::Running | State::Degraded => true,
        State::Starting | State::Retrying | State::Paused | State::Stopped | State::Failed | State::NeedsResync => {
            false
        }
    }
}

fn tell_work(sheet: &Sheet, name: &str, figures: &Figures) {
    sheet.count(&names::CHANGES, &[name], figures.changes);
    sheet.count(&names::CHANGE_BYTES, &[name], figures.bytes);
    sheet.count(&names::BATCHES, &[name], figures.batches);
    sheet.count(&names::MISSING_ROWS, &[name], figures.missing_rows);
    sheet.set(&names::DEAD_LETTERS, &[name], figures.dead_letters as f64);
}

fn tell_copy(sheet: &Sheet, name: &str, figures: &Figures) {
    sheet.set(&names::TABLES, &[name], figures.tables as f64);
    sheet.set(&names::TABLES_COPIED, &[name], figures.tables_copied as f64);
    sheet.count(&names::ROWS_COPIED, &[name], figures.rows_copied);
    sheet.set(&names::ROWS_TO_COPY, &[name], figures.rows_to_copy as f64);
}

/// Before it has a position there is no lag to speak of.
fn tell_position(sheet: &Sheet, name: &str, figures: &Figures) {
    if figures.committed_lsn != Lsn::ZERO {
        sheet.set(&names::LAG_BYTES, &[name], figures.lag_bytes() as f64);
        sheet.set(&names::LAG_SECONDS, &[name], figures.lag_ms as f64 / 1000.0);
    }
    if figures.confirmed_lsn != Lsn::ZERO {
        sheet.set(&names::SLOT_CONFIRMED, &[name], figures.confirmed_lsn.0 as f64);
    }
    if let Some(slot) = figures.slot.filter(|slot| slot.seen.elapsed() < SLOT_KNOWN_FOR) {
        sheet.set(&names::SLOT_RETAINED, &[name], slot.retained as f64);
        if let Some(safe) = slot.safe {
            sheet.set(&names::SLOT_SAFE, &[name], safe as f64);
        }
    }
}
