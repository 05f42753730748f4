use std::collections::HashMap;

use super::{
    Column, Generated, Identity, Misfit, ReplicaIdentity, SchemaError, Severity, Table, TableName, Transfer,
    create::create_missing,
    enums::sync_enums,
    fit::{TypeFit, fit, has_unique_key, type_fit},
    read_named,
};
use crate::postgres::{Connection, qualified};

/// A source's table and where it is to go.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub source: Table,
    pub target: TableName,
    /// The columns to send; all if None.
    pub columns: Option<Vec<String>>,
    /// No update or delete comes, so that no key is needed.
    pub inserts_only: bool,
}

impl Wanted {
    /// The columns that the change stream carries, in the source's order: those asked for, without the generated.
    pub fn sent_columns(&self) -> impl Iterator<Item = &Column> {
        self.created_columns().filter(|column| column.generated == Generated::No)
    }

    /// The columns that a new target table gets: the generated ones, too, as it generates them itself.
    pub(super) fn created_columns(&self) -> impl Iterator<Item = &Column> {
        let is_asked_for = |column: &&Column| self.columns.as_ref().is_none_or(|list| list.contains(&column.name));
        self.source.columns.iter().filter(is_asked_for)
    }

    /// Whether the target is called as the source is.
    pub(super) fn keeps_name(&self) -> bool {
        self.target.name == self.source.name
    }
}

/// A table at the destination that fits its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTable {
    /// The source's OID: what the change stream calls the table.
    pub source_oid: u32,
    pub source_name: TableName,
    pub target_schema: String,
    pub target_name: String,
    /// The columns that the stream carries, in the source's order.
    pub columns: Vec<TargetColumn>,
    /// Only some of the source's columns were asked for.
    pub is_projection: bool,
    /// The columns whose old values lead to a row: the source's replica identity, or the primary key if the
    /// identity is FULL. Empty if only the whole row identifies it.
    pub key_columns: Vec<String>,
    /// Whether an index makes the key unique at the destination.
    pub has_unique_key: bool,
    /// What fits badly, for the log and the preflight.
    pub warnings: Vec<Misfit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    pub name: String,
    /// The source's type.
    pub source_type_oid: u32,
    /// The target's type as SQL, quoted and without its modifier: a cast to it never cuts a value.
    pub cast_sql: String,
    pub type_oid: u32,
    /// The target's type of arrays of it; 0 if there is none.
    pub array_type_oid: u32,
    pub is_array: bool,
    /// Binary only if both sides have the same type and its binary form is the same on both.
    pub transfer: Transfer,
    /// GENERATED ALWAYS AS IDENTITY: an INSERT needs OVERRIDING SYSTEM VALUE, and an UPDATE cannot set it.
    pub identity_always: bool,
}

/// Makes the destination ready: creates the tables that it lacks, adds missing enum labels, and checks that
/// every target fits. The answer has one entry for each of `wanted`, in its order.
///
/// # Errors
/// `SchemaError::Misfits` lists what does not fit and cannot be mended from here.
pub async fn prepare(
    source: &mut Connection,
    destination: &mut Connection,
    wanted: &[Wanted],
) -> Result<Vec<TargetTable>, SchemaError> {
    create_missing(source, destination, wanted).await?;
    sync_enums(source, destination, wanted).await?;
    let names: Vec<_> = wanted.iter().map(|wanted| wanted.target.clone()).collect();
    let targets = read_named(destination, &names).await.map_err(SchemaError::Destination)?;
    let targets = targets.into_iter().map(|table| (table.table_name(), table)).collect();
    match_all(wanted, &targets)
}

fn match_all(wanted: &[Wanted], targets: &HashMap<TableName, Table>) -> Result<Vec<TargetTable>, SchemaError> {
    let mut errors = Vec::new();
    let mut matched = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let Some(target) = targets.get(&wanted.target) else {
            let (what, remedy) =
                ("is missing at the destination".to_owned(), "start again to have it created".to_owned());
            errors.push(Misfit { table: wanted.target.clone(), severity: Severity::Error, what, remedy });
            continue;
        };
        let sent: Vec<&Column> = wanted.sent_columns().collect();
        let misfits = fit(wanted, target, &sent);
        let (worse, warnings): (Vec<_>, _) = misfits.into_iter().partition(|misfit| misfit.severity == Severity::Error);
        errors.extend(worse);
        matched.push(target_table(wanted, target, &sent, warnings));
    }
    if errors.is_empty() { Ok(matched) } else { Err(SchemaError::Misfits(errors)) }
}

fn target_table(wanted: &Wanted, target: &Table, sent: &[&Column], warnings: Vec<Misfit>) -> TargetTable {
    let pairs = sent.iter().filter_map(|column| Some((*column, target.column(&column.name)?)));
    let key_columns = key_columns(&wanted.source, sent);
    TargetTable {
        source_oid: wanted.source.oid,
        source_name: wanted.source.table_name(),
        target_schema: target.schema.clone(),
        target_name: target.name.clone(),
        columns: pairs.map(|(source, target)| target_column(source, target)).collect(),
        is_projection: wanted.columns.is_some(),
        has_unique_key: !key_columns.is_empty() && has_unique_key(target, &key_columns),
        key_columns,
        warnings,
    }
}

fn target_column(source: &Column, target: &Column) -> TargetColumn {
    let is_exact = type_fit(source, target) == TypeFit::Same && target.transfer == Transfer::Binary;
    TargetColumn {
        name: source.name.clone(),
        cast_sql: qualified(&target.type_schema, &target.type_name),
        source_type_oid: source.type_oid,
        type_oid: target.type_oid,
        array_type_oid: target.array_type_oid,
        is_array: target.is_array,
        transfer: if is_exact { source.transfer } else { Transfer::Text },
        identity_always: target.identity == Identity::Always,
    }
}

/// FULL sends every old value, the primary key's among them. A deferrable one may be double within a
/// transaction, so that only an index of `unique_indexes` will do.
fn key_columns(source: &Table, sent: &[&Column]) -> Vec<String> {
    let primary = || source.unique_indexes.iter().find(|index| index.is_primary);
    let key = match source.identity {
        ReplicaIdentity::Full => primary().map(|index| index.columns.as_slice()).unwrap_or_default(),
        ReplicaIdentity::Default | ReplicaIdentity::Index | ReplicaIdentity::Nothing => &source.identity_columns,
    };
    let is_sent = |name: &String| sent.iter().any(|column| column.name == *name);
    if key.iter().all(is_sent) { key.to_vec() } else { Vec::new() }
}
