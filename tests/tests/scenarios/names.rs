//! Names that need quoting, and tables that are wide.

use rosetta_tests::{DB, Pair, Table};

#[tokio::test]
async fn that_need_quoting() {
    let long = "l".repeat(63);
    let tables = [
        "\"We\"\"ird Schéma\".\"select\"".to_owned(),
        "\"We\"\"ird Schéma\".\"Table.With.Dots\"".to_owned(),
        "public.\"it's \\ a $table$\"".to_owned(),
        format!("public.\"{long}\""),
    ];
    let pair = Pair::start().await;
    pair.source.sql(DB, "create schema \"We\"\"ird Schéma\"").await;
    for table in &tables {
        let create = format!(
            "create table {table} (\"Id\" int, \"order\" text, \"a\"\"b\" text, \"col.umn\" int, \"{long}\" int, \"'\" text,
                \"$1\" text, \"%s\" text, \"\\\" text, \" \" text, primary key (\"order\", \"Id\"));
             insert into {table} select i, 'o', 'ab', 1, 2, 'q', 'd', 'p', 'b', 's' from generate_series(1, 10) i;"
        );
        pair.source.sql(DB, &create).await;
    }
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["We\"ird Schéma.*", "public.*"], ""));
    let compared: Vec<Table> = tables.iter().map(|t| Table::same(t)).collect();
    pair.settle(&compared).await;
    for table in &tables {
        let changes = format!(
            "insert into {table} (\"Id\", \"order\") values (100, 'new'); update {table} set \"a\"\"b\" = 'changed' where \"Id\" < 5;
             update {table} set \"Id\" = 200 where \"Id\" = 6; delete from {table} where \"Id\" = 7;"
        );
        pair.source.sql(DB, &changes).await;
    }
    pair.settle(&compared).await;
}

#[tokio::test]
async fn two_hundred_columns() {
    let types = ["int", "text", "numeric(10,2)", "timestamptz", "bool", "uuid", "jsonb", "bytea", "float8", "date"];
    let columns: Vec<String> = (0..200).map(|i| format!("c{i} {}", types[i % types.len()])).collect();
    let values = "i, 'text ' || i, i / 3.0, now() + i * interval '1 hour', i % 2 = 0, gen_random_uuid(), \
                  jsonb_build_object('i', i), decode(md5(i::text), 'hex'), i * 1.1, '2024-01-01'::date + i";
    let values = vec![values; 20].join(", ");
    let insert =
        |from: u32, to: u32| format!("insert into wide select i, {values} from generate_series({from}, {to}) i");
    let pair = Pair::start().await;
    pair.source.sql(DB, &format!("create table wide (id int primary key, {})", columns.join(", "))).await;
    pair.source.sql(DB, &insert(1, 500)).await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.wide"], ""));
    pair.settle(&Table::all(&["public.wide"])).await;
    pair.source.sql(DB, &insert(501, 1000)).await;
    pair.source
        .sql(DB, "update wide set c199 = null, c0 = 7 where id % 2 = 0; delete from wide where id % 9 = 0")
        .await;
    pair.settle(&Table::all(&["public.wide"])).await;
}
