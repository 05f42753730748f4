use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use postgres_protocol::{IsNull, message::frontend};

use super::{
    encode::{self, EncodeError},
    layout::{Format, Layout, LayoutKey},
    net_effect::{NetEffect, RowRef, Unchanged},
    requests::{Failure, Purpose, Requests},
    statements::{Shape, Statements},
};
use crate::{
    pipeline::batch::{Change, Operation, TableChanges},
    postgres::{Connection, PgError},
    source::pgoutput::{Tuple, Value},
};

/// From this many rows on, a COPY costs the server less than single inserts.
const COPY_FROM: usize = 5;
/// From this many rows on, one statement over arrays costs the server less than one a row.
const SET_FROM: usize = 3;
/// Size of the CopyData messages that rows are gathered into.
const COPY_CHUNK: usize = 64 * 1024;

/// Writes the changes of tables as requests on a connection, without waiting for answers.
#[derive(Debug, Default)]
pub(super) struct RowWriter {
    statements: Statements,
    scratch: Vec<u8>,
    /// The layout, and the rows, of statements that were executed since the last Sync.
    unsynced: Option<(u32, u64)>,
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Failure {
        PgError::protocol(error.to_string()).into()
    }
}

/// One change, where it lies, and how its table is laid out at the destination.
pub(super) type Placed<'a> = (&'a TableChanges, Change, Arc<Layout>);

impl RowWriter {
    /// After a failure it is not known which statements are prepared.
    pub(super) fn reset(&mut self) {
        self.statements.forget();
        self.unsynced = None;
    }

    /// The net effect of a table's changes. With `replace`, rows that change are deleted and come again, so
    /// that unique values can go round in a circle.
    pub(super) async fn write_net(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        layout: &Arc<Layout>,
        table: &TableChanges,
        changes: &[Change],
        replace: bool,
    ) -> Result<(), Failure> {
        if table.only_inserts {
            let tuples = changes.iter().map(|change| table.tuple(change.new));
            return self.insert(connection, requests, layout, tuples).await;
        }
        let LayoutKey::Columns(key) = &layout.key else {
            let placed = changes.iter().map(|change| (table, *change, Arc::clone(layout))).collect::<Vec<_>>();
            return self.write_in_order(connection, requests, &placed).await;
        };
        let mut effect = NetEffect::of(table, changes, key);
        if replace || layout.must_replace() {
            effect.replace_updated();
        }
        let tuple = |row: &RowRef| effect.tuple(table, *row);
        let deletes: Vec<_> = effect.deletes.iter().map(tuple).collect();
        self.delete(connection, requests, layout, &deletes).await?;
        for (unchanged, rows) in &effect.updates {
            let rows: Vec<_> = rows.iter().map(tuple).collect();
            self.update(connection, requests, layout, unchanged, &rows).await?;
        }
        self.insert(connection, requests, layout, effect.inserts.iter().map(tuple)).await
    }

    /// Changes one by one, in the order given.
    pub(super) async fn write_in_order(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        changes: &[Placed<'_>],
    ) -> Result<(), Failure> {
        for (table, change, layout) in changes {
            if self.unsynced.is_some_and(|(open, _)| open != layout.id) {
                self.sync(connection, requests);
            }
            self.change(connection, table, change, layout)?;
            requests.send_some(connection).await?;
        }
        self.sync(connection, requests);
        Ok(())
    }

    /// Tries changes one by one, in the order given, as one request that ends at the first that is refused; for each
    /// statement, the index of its change.
    pub(super) async fn try_in_order(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        placed: &[Placed<'_>],
        indexes: &[usize],
    ) -> Result<Vec<usize>, Failure> {
        let mut statements = Vec::new();
        for index in indexes {
            let Some((table, change, layout)) = placed.get(*index) else { continue };
            let before = self.unsynced.map_or(0, |(_, rows)| rows);
            self.change(connection, table, change, layout)?;
            let added = self.unsynced.map_or(0, |(_, rows)| rows) - before;
            statements.extend(std::iter::repeat_n(*index, usize::try_from(added).unwrap_or_default()));
            requests.send_some(connection).await?;
        }
        self.unsynced = None;
        frontend::sync(connection.out());
        requests.expect(Purpose::Trial);
        Ok(statements)
    }

    fn change(
        &mut self,
        connection: &mut Connection,
        table: &TableChanges,
        change: &Change,
        layout: &Layout,
    ) -> Result<(), Failure> {
        let (old, new) = (table.tuple(change.old), table.tuple(change.new));
        match change.operation {
            Operation::Insert => self.row(connection, layout, Shape::InsertRow, &[new])?,
            Operation::Delete => self.row(connection, layout, Shape::DeleteRow, &[old])?,
            Operation::Update if layout.must_replace() && !change.has_unchanged => {
                self.row(connection, layout, Shape::DeleteRow, &[new])?;
                self.row(connection, layout, Shape::InsertRow, &[new])?;
            }
            Operation::Update => self.update_row(connection, layout, new)?,
            Operation::Rekey if layout.columns.iter().any(|column| column.identity_always) && !change.has_unchanged => {
                self.row(connection, layout, Shape::DeleteRow, &[old])?;
                self.row(connection, layout, Shape::InsertRow, &[new])?;
            }
            Operation::Rekey => self.row(connection, layout, Shape::RekeyRow(unchanged_in(new)), &[new, old])?,
        }
        Ok(())
    }

    fn update_row(&mut self, connection: &mut Connection, layout: &Layout, new: Tuple<'_>) -> Result<(), Failure> {
        let shape = Shape::UpdateRow(unchanged_in(new));
        if shape.parameters(layout).is_empty() {
            return Ok(());
        }
        self.row(connection, layout, shape, &[new, new])
    }

    async fn insert<'a>(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        layout: &Layout,
        tuples: impl ExactSizeIterator<Item = Tuple<'a>>,
    ) -> Result<(), Failure> {
        if tuples.len() >= COPY_FROM {
            return self.copy(connection, requests, layout, tuples).await;
        }
        for tuple in tuples {
            self.row(connection, layout, Shape::InsertRow, &[tuple])?;
        }
        self.sync(connection, requests);
        Ok(())
    }

    async fn copy<'a>(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        layout: &Layout,
        tuples: impl Iterator<Item = Tuple<'a>>,
    ) -> Result<(), Failure> {
        let is_binary = layout.format == Format::Binary;
        let options = if is_binary { " (FORMAT binary)" } else { "" };
        let sql = format!("COPY {} ({}) FROM STDIN{options}", layout.table_sql, layout.column_list());
        frontend::query(&sql, connection.out())?;
        self.scratch.clear();
        if is_binary {
            self.scratch.extend_from_slice(encode::BINARY_COPY_HEADER);
        }
        for tuple in tuples {
            encode::copy_row(layout, tuple, &mut self.scratch)?;
            if self.scratch.len() >= COPY_CHUNK {
                put_copy_data(connection.out(), &mut self.scratch);
                requests.send_some(connection).await?;
            }
        }
        if is_binary {
            self.scratch.extend_from_slice(encode::BINARY_COPY_TRAILER);
        }
        put_copy_data(connection.out(), &mut self.scratch);
        frontend::copy_done(connection.out());
        requests.expect(Purpose::Rows { layout: layout.id, wanted: 0 }); // a COPY stores all of its rows or fails
        requests.send_some(connection).await
    }

    async fn delete(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        layout: &Layout,
        rows: &[Tuple<'_>],
    ) -> Result<(), Failure> {
        self.set_or_rows(connection, requests, layout, rows, Shape::DeleteSet, Shape::DeleteRow).await
    }

    async fn update(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        layout: &Layout,
        unchanged: &Unchanged,
        rows: &[Tuple<'_>],
    ) -> Result<(), Failure> {
        let nothing_to_set = layout.columns.iter().all(|c| layout.is_key(c) || unchanged.contains(&c.tuple_index));
        if nothing_to_set {
            return Ok(());
        }
        let (set, row) = (Shape::UpdateSet(unchanged.clone()), Shape::UpdateRow(unchanged.clone()));
        self.set_or_rows(connection, requests, layout, rows, set, row).await
    }

    async fn set_or_rows(
        &mut self,
        connection: &mut Connection,
        requests: &mut Requests,
        layout: &Layout,
        rows: &[Tuple<'_>],
        set: Shape,
        row: Shape,
    ) -> Result<(), Failure> {
        // unnest would take an array of arrays apart; texts it leaves whole.
        let takes_sets = layout.format == Format::Text || !set.parameters(layout).iter().any(|column| column.is_array);
        if rows.len() >= SET_FROM && takes_sets {
            self.set(connection, layout, set, rows)?;
        } else {
            for tuple in rows {
                self.row(connection, layout, row.clone(), &[*tuple, *tuple])?;
            }
        }
        self.sync(connection, requests);
        requests.send_some(connection).await
    }

    /// One statement whose parameters are arrays, a column each.
    fn set(
        &mut self,
        connection: &mut Connection,
        layout: &Layout,
        shape: Shape,
        rows: &[Tuple<'_>],
    ) -> Result<(), Failure> {
        let columns = shape.parameters(layout);
        let indexes: Vec<_> = columns.iter().map(|column| column.tuple_index).collect();
        let values = encode::columns_of(rows.iter().copied(), &indexes)?;
        let mut arrays = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let mut array = Vec::new();
            let column_values = values.iter().skip(index).step_by(columns.len()).copied();
            encode::array(layout.format, column.type_oid, column_values, &mut array)?;
            arrays.push(array);
        }
        let name = self.statements.name(connection, layout, shape)?;
        let write = |array: &Vec<u8>, buffer: &mut BytesMut| {
            buffer.extend_from_slice(array);
            Ok(IsNull::No)
        };
        self.execute(connection, &name, 1, &arrays, write)?;
        self.count(layout, rows.len() as u64);
        Ok(())
    }

    /// One statement for one row. `tuples` is what the parameters come from: the new row, then, for an
    /// update, the row that holds the key to find it by.
    fn row(
        &mut self,
        connection: &mut Connection,
        layout: &Layout,
        shape: Shape,
        tuples: &[Tuple<'_>],
    ) -> Result<(), Failure> {
        let mut indexes: Vec<_> = shape.parameters(layout).iter().map(|column| column.tuple_index).collect();
        let mut values = Vec::with_capacity(indexes.len());
        if let Some(tuple) = tuples.first() {
            values.extend(encode::columns_of([*tuple].into_iter(), &indexes)?);
        }
        if let (Shape::UpdateRow(_) | Shape::RekeyRow(_), Some(old)) = (&shape, tuples.get(1)) {
            indexes = super::statements::row_identity(layout).iter().map(|column| column.tuple_index).collect();
            values.extend(encode::columns_of([*old].into_iter(), &indexes)?);
        }
        let name = self.statements.name(connection, layout, shape)?;
        let write = |value: &Value<'_>, buffer: &mut BytesMut| match value {
            Value::Text(bytes) | Value::Binary(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Value::Null => Ok(IsNull::Yes),
            Value::Unchanged => Err("a left-out value that is needed".into()),
        };
        let format = i16::from(layout.format == Format::Binary);
        self.execute(connection, &name, format, &values, write)?;
        self.count(layout, 1);
        Ok(())
    }

    fn execute<T>(
        &mut self,
        connection: &mut Connection,
        statement: &str,
        format: i16,
        values: &[T],
        write: impl FnMut(&T, &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>>,
    ) -> Result<(), Failure> {
        let out = connection.out();
        frontend::bind("", statement, [format], values, write, [], out)
            .map_err(|_| EncodeError("row that does not fit into a message"))?;
        frontend::execute("", 0, out)?;
        Ok(())
    }

    fn count(&mut self, layout: &Layout, rows: u64) {
        let before = self.unsynced.map_or(0, |(_, rows)| rows);
        self.unsynced = Some((layout.id, before + rows));
    }

    fn sync(&mut self, connection: &mut Connection, requests: &mut Requests) {
        if let Some((layout, wanted)) = self.unsynced.take() {
            frontend::sync(connection.out());
            requests.expect(Purpose::Rows { layout, wanted });
        }
    }
}

fn unchanged_in(tuple: Tuple<'_>) -> Unchanged {
    tuple.values().enumerate().filter(|(_, value)| *value == Value::Unchanged).map(|(index, _)| index).collect()
}

fn put_copy_data(out: &mut BytesMut, scratch: &mut Vec<u8>) {
    out.put_u8(b'd');
    out.put_u32(scratch.len() as u32 + 4);
    out.extend_from_slice(scratch);
    scratch.clear();
}
