use crate::postgres::qualified;

/// Pages of a range: 32 MiB, so that a large table keeps all connections busy to its end and a range that
/// must be done again is no great loss.
const PAGES_PER_PART: u64 = 4096;

/// A table to be copied to one target.
#[derive(Debug, Clone)]
pub struct CopyTable {
    /// For messages.
    pub source_name: String,
    /// Where the rows lie: the table itself, or its leaf partitions, each with its size in pages.
    pub pieces: Vec<Piece>,
    /// For messages.
    pub target_name: String,
    /// Quoted and qualified.
    pub target_sql: String,
    /// Quoted, in the order in which they travel.
    pub columns_sql: Vec<String>,
    pub filter: Option<String>,
    pub binary: bool,
}

#[derive(Debug, Clone)]
pub struct Piece {
    pub schema: String,
    pub name: String,
    pub pages: u64,
}

/// A part of a table: what one COPY moves and one mark records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) table: usize,
    pub(super) number: usize,
    pub(super) pages: u64,
    /// The COPY at the source.
    pub(super) copy_out: String,
}

/// The parts of all tables, the largest first, so that no long one is left for the end.
pub(super) fn parts(tables: &[CopyTable]) -> Vec<Part> {
    let mut parts: Vec<_> = tables.iter().enumerate().flat_map(|(index, table)| table_parts(index, table)).collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.pages));
    parts
}

pub(super) fn table_parts(index: usize, table: &CopyTable) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in &table.pieces {
        let ranges = ranges(piece.pages);
        let only_one = ranges.len() == 1;
        for (from, to) in ranges {
            let pages = to.unwrap_or(piece.pages).saturating_sub(from);
            let range = (!only_one).then_some((from, to));
            parts.push(Part { table: index, number: parts.len(), pages, copy_out: copy_out(table, piece, range) });
        }
    }
    parts
}

/// Page ranges [from, to) that cover the table; the last is open, because the table may have grown.
fn ranges(pages: u64) -> Vec<(u64, Option<u64>)> {
    let count = pages.div_ceil(PAGES_PER_PART).max(1);
    (0..count).map(|n| (n * PAGES_PER_PART, (n + 1 < count).then_some((n + 1) * PAGES_PER_PART))).collect()
}

fn copy_out(table: &CopyTable, piece: &Piece, range: Option<(u64, Option<u64>)>) -> String {
    let mut conditions = Vec::new();
    if let Some((from, to)) = range {
        conditions.push(format!("ctid >= '({from},0)'"));
        conditions.extend(to.map(|to| format!("ctid < '({to},0)'")));
    }
    conditions.extend(table.filter.iter().map(|filter| format!("(\n{filter}\n)")));
    let name = qualified(&piece.schema, &piece.name);
    let columns = table.columns_sql.join(", ");
    let format = if table.binary { "binary" } else { "text" };
    if conditions.is_empty() && !table.columns_sql.is_empty() {
        return format!("COPY {name} ({columns}) TO STDOUT (FORMAT {format})");
    }
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!("COPY (SELECT {columns} FROM ONLY {name}{condition}) TO STDOUT (FORMAT {format})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_cover_every_page_once(pages in 0u64..100_000, page in 0u64..200_000) {
            let holders = ranges(pages).into_iter().filter(|(from, to)| page >= *from && to.is_none_or(|to| page < to));
            prop_assert_eq!(holders.count(), 1);
        }
    }

    #[test]
    fn a_large_table_is_cut_by_ctid() {
        let piece = Piece { schema: "public".into(), name: "t".into(), pages: PAGES_PER_PART + 1 };
        let table = CopyTable {
            source_name: "public.t".into(),
            pieces: vec![piece],
            target_name: "public.t".into(),
            target_sql: "\"public\".\"t\"".into(),
            columns_sql: vec!["\"id\"".into()],
            filter: Some("id > 0".into()),
            binary: true,
        };
        let parts = parts(&[table]);
        assert_eq!(
            parts[0].copy_out,
            "COPY (SELECT \"id\" FROM ONLY \"public\".\"t\" WHERE ctid >= '(0,0)' AND ctid < '(4096,0)' AND (\nid > 0\n)) \
             TO STDOUT (FORMAT binary)"
        );
        assert_eq!(parts[1].number, 1);
    }
}
