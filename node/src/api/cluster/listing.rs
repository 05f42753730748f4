//! Which pipelines a listing shows, a page at a time. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rosetta_proto::{PipelineName, v1};
use tonic::Status;

use super::stored::Stored;
use crate::api::refuse;

/// Entries on a page that does not say, and the most that it may ask for.
const PAGE: u32 = 1000;

/// A request that was read.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Empty: all.
    names: BTreeSet<String>,
    /// Empty: any.
    states: Vec<i32>,
    page_size: usize,
    /// Only the names behind this one.
    after: Option<PipelineName>,
}

impl Wanted {
    /// # Errors
    /// The page is none.
    pub(super) fn of(request: v1::ListPipelinesRequest) -> Result<Wanted, Status> {
        let v1::ListPipelinesRequest { names, states, page_size, page_token } = request;
        let no_token = |_| refuse::field("page_token", "page_token is none of a listing's: leave it out", "PAGE_TOKEN");
        let after = (!page_token.is_empty()).then(|| page_token.parse()).transpose().map_err(no_token)?;
        let page_size = page_size_of(page_size, PAGE, PAGE)?;
        Ok(Wanted { names: names.into_iter().collect(), states, page_size, after })
    }

    /// Those of `defined` that may be on this page or on later ones: only their owners are asked.
    pub(super) fn among(&self, mut defined: BTreeMap<PipelineName, Stored>) -> BTreeMap<PipelineName, Stored> {
        defined.retain(|name, _| self.names.is_empty() || self.names.contains(name.as_str()));
        if let Some(after) = &self.after {
            defined.retain(|name, _| name > after);
        }
        if self.states.is_empty() {
            // One more than a page shows whether there is another.
            defined = defined.into_iter().take(self.page_size + 1).collect();
        }
        defined
    }

    pub(super) fn page(
        &self,
        defined: BTreeMap<PipelineName, Stored>,
        mut statuses: BTreeMap<PipelineName, v1::PipelineStatus>,
    ) -> v1::ListPipelinesResponse {
        let mut pipelines = Vec::new();
        for (name, kept) in defined {
            let status = statuses.remove(&name).map(|status| with_refusal(status, kept.refused.as_deref()));
            let state = status.as_ref().map(|status| status.state).unwrap_or_default();
            if !self.states.is_empty() && !self.states.contains(&state) {
                continue;
            }
            if pipelines.len() == self.page_size {
                return v1::ListPipelinesResponse { next_page_token: last_name(&pipelines), pipelines };
            }
            pipelines.push(v1::ListedPipeline { stored: Some(kept.stored), status });
        }
        v1::ListPipelinesResponse { pipelines, next_page_token: String::new() }
    }
}

fn last_name(page: &[v1::ListedPipeline]) -> String {
    let pipeline = page.last().and_then(|listed| listed.stored.as_ref()?.pipeline.as_ref());
    pipeline.map(|pipeline| pipeline.name.clone()).unwrap_or_default()
}

/// A definition that cannot be run never gets an owner by itself; one that runs an older definition says so.
pub(super) fn with_refusal(status: v1::PipelineStatus, refused: Option<&str>) -> v1::PipelineStatus {
    let Some(reason) = refused else { return status };
    let error = format!("its definition cannot be run: {reason}");
    match status.node.as_str() {
        "" => v1::PipelineStatus { state: v1::PipelineState::Failed.into(), error, ..status },
        _ if status.error.is_empty() => v1::PipelineStatus { error, ..status },
        _ => status,
    }
}

/// # Errors
/// More than `most`.
pub(super) fn page_size_of(asked: u32, default: u32, most: u32) -> Result<usize, Status> {
    match asked {
        0 => Ok(default as usize),
        asked if asked <= most => Ok(asked as usize),
        asked => {
            let message = format!("page_size is {asked}: give 1 to {most}, or 0 for {default}");
            Err(refuse::field("page_size", message, "PAGE_SIZE"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: v1::PipelineState = v1::PipelineState::Running;

    fn name(name: &str) -> PipelineName {
        name.parse().unwrap()
    }

    fn defined(names: &[&str]) -> BTreeMap<PipelineName, Stored> {
        let kept = |text: &&str| {
            let pipeline = Some(v1::Pipeline { name: (*text).to_owned(), ..v1::Pipeline::default() });
            let stored = v1::StoredPipeline { pipeline, ..v1::StoredPipeline::default() };
            (name(text), Stored { stored, ..Stored::default() })
        };
        names.iter().map(kept).collect()
    }

    fn list(request: v1::ListPipelinesRequest, states: &[(&str, v1::PipelineState)]) -> (Vec<String>, String) {
        let wanted = Wanted::of(request).unwrap();
        let statuses = states.iter().map(|(text, state)| {
            let status = v1::PipelineStatus {
                pipeline: (*text).to_owned(),
                state: (*state).into(),
                ..v1::PipelineStatus::default()
            };
            (name(text), status)
        });
        let among = wanted.among(defined(&["a", "b", "c", "d"]));
        let page = wanted.page(among, statuses.collect());
        let shown = page.pipelines.into_iter().map(|listed| listed.stored.unwrap().pipeline.unwrap().name);
        (shown.collect(), page.next_page_token)
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let page = |page_token: &str| {
            let request =
                v1::ListPipelinesRequest { page_size: 2, page_token: page_token.to_owned(), ..Default::default() };
            list(request, &[])
        };
        let strings = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        assert_eq!(page(""), (strings(["a", "b"]), "b".to_owned()));
        assert_eq!(page("b"), (strings(["c", "d"]), String::new()));
    }

    #[test]
    fn names_and_states_select() {
        let names = vec!["d".to_owned(), "none".to_owned()];
        let request = v1::ListPipelinesRequest { names, ..Default::default() };
        assert_eq!(list(request, &[]).0, ["d"]);
        let states = [("a", RUNNING), ("b", v1::PipelineState::Failed), ("c", RUNNING), ("d", RUNNING)];
        let request = v1::ListPipelinesRequest { states: vec![RUNNING.into()], page_size: 2, ..Default::default() };
        assert_eq!(list(request, &states), (vec!["a".to_owned(), "c".to_owned()], "c".to_owned()));
    }

    #[test]
    fn pages_that_are_none_are_refused() {
        let long = v1::ListPipelinesRequest { page_size: 1001, ..Default::default() };
        assert!(Wanted::of(long).unwrap_err().message().starts_with("page_size is 1001"));
        let strange = v1::ListPipelinesRequest { page_token: "A b".to_owned(), ..Default::default() };
        assert!(Wanted::of(strange).is_err());
    }

    #[test]
    fn a_definition_that_cannot_be_run_is_failed_unless_an_older_one_runs() {
        let unowned = with_refusal(v1::PipelineStatus::default(), Some("no tables"));
        assert_eq!(
            (unowned.state(), unowned.error.as_str()),
            (v1::PipelineState::Failed, "its definition cannot be run: no tables")
        );
        let running = v1::PipelineStatus { node: "a".to_owned(), state: RUNNING.into(), ..Default::default() };
        assert_eq!(with_refusal(running, Some("no tables")).state(), RUNNING);
    }
}
