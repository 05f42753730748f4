//! How long pipelines stood still: measured from what came to the destination.

use std::time::Duration;

use super::{Arrivals, Cluster, Figures, Pipeline, Spell};
use crate::wait::eventually;

/// The newest epoch of some pipelines at one moment.
#[derive(Debug, Clone)]
pub struct Before {
    epochs: Vec<(String, u64)>,
}

impl Before {
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.epochs.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[must_use]
    pub fn epoch_of(&self, pipeline: &str) -> u64 {
        let found = self.epochs.iter().find(|(name, _)| name == pipeline);
        found.map(|(_, epoch)| *epoch).unwrap_or_else(|| panic!("{pipeline} was not looked at"))
    }
}

impl Cluster {
    /// Takes down who writes for the pipelines `names` now.
    pub async fn before(&self, names: &[&str]) -> Before {
        let arrivals = Arrivals::of(&self.world).await;
        let epochs = arrivals.newest_epochs(names).await.unwrap_or_else(|e| panic!("the newest epochs: {e}"));
        Before { epochs }
    }

    /// The same for the pipelines that `node` owns.
    pub async fn before_of(&self, node: &str) -> Before {
        let names = self.records.owned_by(node);
        // Others, without an audit table, are not looked at.
        let is_audited = |name: &&str| self.world.pipelines.iter().any(|pipeline| pipeline.name == *name);
        self.before(&names.iter().map(String::as_str).filter(is_audited).collect::<Vec<_>>()).await
    }

    /// Waits until each of them is written under a newer epoch.
    pub async fn taken_over(&self, before: &Before, deadline: Duration) {
        let arrivals = Arrivals::of(&self.world).await;
        eventually(deadline, "newer epochs write", async || {
            let now = arrivals.newest_epochs(&before.names()).await?;
            let is_old = |((name, old), (_, new)): (&(String, u64), (String, u64))| (new <= *old).then(|| name.clone());
            let missing: Vec<String> = before.epochs.iter().zip(now).filter_map(is_old).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}; owners: {:?}", self.records.owners())) }
        })
        .await;
    }

    /// From `since` (microseconds since the Unix epoch) to the first row under a newer epoch, of each.
    pub async fn first_rows(&self, before: &Before, since: i64) -> Figures {
        let arrivals = Arrivals::of(&self.world).await;
        let mut figures = Figures::default();
        for (name, epoch) in &before.epochs {
            figures.extend(first_after(&arrivals.spells(name).await, *epoch).map(|spell| spell.first - since));
        }
        figures
    }

    /// From the last row of the old epoch to the first of a newer one, of each.
    pub async fn pauses(&self, before: &Before) -> Figures {
        let arrivals = Arrivals::of(&self.world).await;
        let mut figures = Figures::default();
        for (name, epoch) in &before.epochs {
            let spells = arrivals.spells(name).await;
            let old = spells.iter().find(|spell| spell.epoch == *epoch);
            let new = first_after(&spells, *epoch);
            figures.extend(old.zip(new).map(|(old, new)| new.first - old.last));
        }
        figures
    }

    /// The worst time from the source's write to the destination's since `since`, over all pipelines.
    pub async fn worst_lag(&self, since: i64) -> Duration {
        self.worst_lag_of(&self.world.pipelines, since).await
    }

    pub async fn worst_lag_of(&self, pipelines: &[Pipeline], since: i64) -> Duration {
        let arrivals = Arrivals::of(&self.world).await;
        let mut worst = 0;
        for pipeline in pipelines {
            worst = worst.max(arrivals.worst_lag(&pipeline.name, since).await);
        }
        Duration::from_micros(u64::try_from(worst).unwrap_or_default())
    }
}

fn first_after(spells: &[Spell], epoch: u64) -> Option<Spell> {
    spells.iter().copied().find(|spell| spell.epoch > epoch)
}
