//! Which publications a pipeline's tables need. Pure.

use super::selection::{Problem, Selected, columns};
use crate::{
    config::Publish,
    source::publication::{Publication, Published},
};

/// PostgreSQL cuts names at 63 bytes; a publication cut short could be another's.
const NAME_LIMIT: usize = 63;

/// The publications that Rosetta makes for these tables.
///
/// # Errors
/// A name that PostgreSQL would cut short.
pub fn publications(source: &str, pipeline: &str, selected: &[Selected]) -> Result<Vec<Publication>, Problem> {
    let is_exclusive = needs_its_own(selected);
    let name = if is_exclusive { format!("rosetta_{source}_{pipeline}") } else { format!("rosetta_{source}") };
    let mut publications = Vec::new();
    for (inserts_only, name) in [(false, name.clone()), (true, format!("{name}_inserts"))] {
        let tables: Vec<_> = selected
            .iter()
            .filter(|table| (table.publish == Publish::Insert) == inserts_only)
            .map(|table| Published {
                schema: table.table.schema.clone(),
                name: table.table.name.clone(),
                columns: columns(table),
                filter: table.filter.clone(),
            })
            .collect();
        if tables.is_empty() {
            continue;
        }
        if name.len() > NAME_LIMIT {
            let what = format!("its publication would be called '{name}', longer than PostgreSQL's 63 bytes");
            return Err(Problem::new(what, "shorten the source's name"));
        }
        publications.push(Publication { name, tables, inserts_only, is_exclusive });
    }
    Ok(publications)
}

/// Whether these tables cannot share the source's publications. Besides lists: in a shared one a partition would come
/// under the name of a root that another pipeline added, and a table for inserts only would come with the updates that
/// another pipeline added.
fn needs_its_own(selected: &[Selected]) -> bool {
    let is_apart =
        |table: &Selected| table.filter.is_some() || columns(table).is_some() || table.table.partition_of.is_some();
    let publishes = |publish| selected.iter().any(|table| table.publish == publish);
    selected.iter().any(is_apart) || (publishes(Publish::Insert) && publishes(Publish::All))
}
