use foldhash::HashMap;

use super::{Table, TableKind};

/// Which table is a partition of which.
pub struct PartitionTree<'a> {
    children: HashMap<u32, Vec<&'a Table>>,
}

impl<'a> PartitionTree<'a> {
    pub fn new(relations: &'a [Table]) -> PartitionTree<'a> {
        let mut children: HashMap<u32, Vec<&'a Table>> = HashMap::default();
        for table in relations {
            if let Some(parent) = table.partition_of {
                children.entry(parent).or_default().push(table);
            }
        }
        PartitionTree { children }
    }

    /// All partitions beneath a table, of every depth.
    pub fn beneath(&self, table: &Table) -> Vec<&'a Table> {
        let mut found: Vec<&'a Table> = self.children.get(&table.oid).cloned().unwrap_or_default();
        let mut next = 0;
        while let Some(partition) = found.get(next) {
            found.extend(self.children.get(&partition.oid).into_iter().flatten());
            next += 1;
        }
        found
    }

    /// The tables whose replica identity counts when a row of `table` changes: those that hold its rows, and, as the
    /// stream shows the changes as the root's, the table itself.
    pub fn holders<'t>(&self, table: &'t Table) -> Vec<&'t Table>
    where
        'a: 't,
    {
        let leaves = self.beneath(table).into_iter().filter(|partition| partition.kind == TableKind::Ordinary);
        std::iter::once(table).chain(leaves).collect()
    }
}
