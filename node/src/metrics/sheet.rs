use std::fmt::Write;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder, formatting};

use super::names::{ALL, Kind, Metric};
use crate::pipeline::latency::Latency;

/// Upper bounds of a histogram's buckets, in milliseconds: dense around the 1 to 3 s that are promised.
const BOUNDS_MS: [u64; 18] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000, 300_000, 3_600_000];

/// One answer to a scrape. It is made anew for each: what has gone since the last one is in none.
pub struct Sheet {
    recorder: PrometheusRecorder,
    /// What the recorder cannot hold, as it is told.
    text: String,
    /// The metric that `text` was last about.
    heading: &'static str,
}

const METADATA: Metadata<'static> = Metadata::new("rosetta", Level::INFO, None);

impl Sheet {
    /// Nothing is told yet.
    pub fn blank() -> Sheet {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in ALL {
            match metric.kind {
                Kind::Counter => recorder.describe_counter(metric.name.into(), None, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(metric.name.into(), None, metric.help.into()),
                Kind::Histogram => {}
            }
        }
        Sheet { recorder, text: String::new(), heading: "" }
    }

    /// A gauge's value.
    pub fn set(&self, metric: &Metric, labels: &[&str], value: f64) {
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }

    /// A gauge that is 1 or 0.
    pub fn flag(&self, metric: &Metric, labels: &[&str], is_so: bool) {
        self.set(metric, labels, if is_so { 1.0 } else { 0.0 });
    }

    /// A counter's value since the process began.
    pub fn count(&self, metric: &Metric, labels: &[&str], value: u64) {
        self.recorder.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    /// A counter of fractions. All of one metric come together.
    pub fn count_seconds(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.head(metric);
        self.line(metric, "", labels, None, value);
    }

    /// A histogram. All of one metric come together.
    pub fn distribute(&mut self, metric: &Metric, labels: &[&str], latency: &Latency) {
        self.head(metric);
        for bound in BOUNDS_MS {
            let le = (bound as f64 / 1000.0).to_string();
            self.line(metric, "_bucket", labels, Some(&le), latency.at_most(bound * 1000) as f64);
        }
        self.line(metric, "_bucket", labels, Some("+Inf"), latency.total() as f64);
        self.line(metric, "_sum", labels, None, latency.sum_seconds());
        self.line(metric, "_count", labels, None, latency.total() as f64);
    }

    /// In the text format of Prometheus.
    pub fn render(self) -> String {
        self.recorder.handle().render() + &self.text
    }

    fn head(&mut self, metric: &Metric) {
        if self.heading != metric.name {
            self.heading = metric.name;
            formatting::write_help_line(&mut self.text, metric.name, None, None, metric.help);
            formatting::write_type_line(&mut self.text, metric.name, None, None, metric.kind.name());
        }
    }

    fn line(&mut self, metric: &Metric, suffix: &str, labels: &[&str], le: Option<&str>, value: f64) {
        let named = metric.labels.iter().zip(labels).chain(le.as_ref().map(|le| (&"le", le)));
        let labels: Vec<String> =
            named.map(|(name, value)| format!("{name}=\"{}\"", formatting::sanitize_label_value(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", metric.name);
    }
}

fn key(metric: &Metric, values: &[&str]) -> Key {
    let labels = metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(metric.name, labels.collect::<Vec<_>>())
}
