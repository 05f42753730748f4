use super::*;
use crate::check::samples::{column, definitions, table};

/// The jobs, or the errors, of all tables of a source on their way to destination `d`.
fn jobs(pipeline: &str, source: Vec<Table>, destination: Vec<Table>) -> Vec<Result<Job, String>> {
    let definitions = definitions(&format!("tables = [\"public.*\"]\n{pipeline}"));
    let pipeline = definitions.pipelines.first().expect("a pipeline");
    let wanted = Wanted { pipeline, destination: "d", show_values: false };
    let source = Catalog { sizes: [(1, 10 * BUCKET_BYTES)].into(), tables: source, ..Catalog::default() };
    let destination = Catalog { tables: destination, ..Catalog::default() };
    let job = |arrival: &(Selected, Route)| {
        job(wanted, arrival, &source, &destination).map_err(|r| r.error.unwrap_or_default())
    };
    arrivals(wanted, &source).iter().map(job).collect()
}

fn only(mut jobs: Vec<Result<Job, String>>) -> Result<Job, String> {
    assert_eq!(jobs.len(), 1);
    jobs.pop().expect("one job")
}

#[test]
fn generated_columns_are_left_out_and_the_size_makes_buckets() {
    let mut orders = table(1, "orders");
    orders.columns.push(Column { generated: Generated::Stored, ..column("tax") });
    let job = only(jobs("", vec![orders.clone()], vec![orders])).expect("comparable");
    assert_eq!((job.source.columns, job.bucket_count), (vec!["id".to_owned(), "total".to_owned()], 10));
    assert_eq!(job.source.key, [KeyColumn { name: "id".to_owned(), value_type: Some("int8".to_owned()) }]);
}

#[test]
fn a_key_of_two_types_is_compared_as_text_and_a_cut_key_is_none() {
    let mut target = table(5, "orders");
    target.columns.iter_mut().for_each(|column| column.type_oid = 25);
    let job = only(jobs("", vec![table(1, "orders")], vec![target])).expect("comparable");
    assert!(job.source.key.iter().all(|column| column.value_type.is_none()));
    let cut = "[[pipeline.table]]\nname = \"orders\"\ncolumns = [\"total\"]\nfilter = \"total > 0\"";
    let job = only(jobs(cut, vec![table(1, "orders")], vec![table(5, "orders")])).expect("comparable");
    assert_eq!(job.source.key, []);
    assert_eq!((job.source.filter.as_deref(), job.destination.filter), (Some("total > 0"), None));
}

#[test]
fn what_the_destination_lacks_is_said() {
    let missing = only(jobs("", vec![table(1, "orders")], Vec::new())).expect_err("no table");
    assert_eq!(missing, "table public.orders does not exist at d");
    let narrow = Table { columns: vec![column("id")], ..table(5, "orders") };
    let missing = only(jobs("", vec![table(1, "orders")], vec![narrow])).expect_err("no column");
    assert_eq!(missing, "the destination's table has no column \"total\"");
}
