use serde::Serialize;

use crate::cli::{self, Output};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, but not as one may expect.
    Warning,
    /// It cannot work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub pipeline: Option<String>,
    pub source: Option<String>,
    pub destination: Option<String>,
    pub what: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'a> {
    pub(super) pipeline: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) destination: Option<&'a str>,
}

impl Subject<'_> {
    pub(super) fn ok(self, what: impl Into<String>) -> Finding {
        self.finding(Level::Ok, what.into(), None)
    }

    pub(super) fn warning(self, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Level::Warning, what.into(), Some(remedy.into()))
    }

    pub(super) fn problem(self, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Level::Problem, what.into(), Some(remedy.into()))
    }

    fn finding(self, level: Level, what: String, remedy: Option<String>) -> Finding {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let (pipeline, source, destination) = (owned(self.pipeline), owned(self.source), owned(self.destination));
        Finding { level, pipeline, source, destination, what, remedy }
    }
}

/// Everything that was found, in the order of the file. In JSON it is the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether there is no problem, so that the exit code is 0.
    pub fn is_ok(&self) -> bool {
        self.count(Level::Problem) == 0
    }

    /// The report as text, ended by a line break.
    pub fn render(&self, output: Output) -> String {
        match output {
            Output::Json => cli::json(self),
            Output::Table => self.for_people(),
        }
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    fn for_people(&self) -> String {
        let rows = self.findings.iter().map(Finding::cells);
        let text = cli::table(["RESULT", "WHERE", "WHAT"], rows, None);
        let (problems, warnings) = (self.count(Level::Problem), self.count(Level::Warning));
        let counted = |count: usize, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        format!("{text}{}, {}\n", counted(problems, "problem"), counted(warnings, "warning"))
    }
}

impl Finding {
    fn cells(&self) -> [String; 3] {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        let parts = [("pipeline", &self.pipeline), ("source", &self.source), ("destination", &self.destination)];
        let place = parts.iter().filter_map(|(kind, name)| name.as_ref().map(|name| format!("{kind} {name}")));
        let remedy = self.remedy.as_ref().map(|remedy| format!("\n-> {remedy}")).unwrap_or_default();
        [level.to_owned(), place.collect::<Vec<_>>().join(", "), format!("{}{remedy}", self.what)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_remedy() {
        let subject = Subject { source: Some("shop"), ..Subject::default() };
        let report =
            Report { findings: vec![subject.problem("wal_level is replica", "set it"), subject.ok("reached")] };
        let text = report.render(Output::Table);
        assert!(text.contains("PROBLEM  source shop  wal_level is replica\n"), "{text}");
        assert!(text.contains("-> set it\n"), "{text}");
        assert!(text.ends_with("1 problem, 0 warnings\n") && !report.is_ok(), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.render(Output::Json)).expect("JSON");
        assert_eq!(json[0]["level"], "problem");
        assert_eq!(json[1]["remedy"], serde_json::Value::Null);
    }
}
