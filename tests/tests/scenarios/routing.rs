//! What goes where: columns, rows, names, and several destinations.

use rosetta_tests::{DB, Pair, Rosetta, SLOT, SOON, Table, oracle};

const SCHEMA: &str = "
    create table orders (id int primary key, secret text, total numeric, note text);
    create table items (id int primary key, qty int, v text); alter table items replica identity full;
    insert into orders select i, 'secret', i, 'n' from generate_series(1, 100) i;
    insert into items select i, i % 5, 'v' from generate_series(1, 100) i;";

const CHANGES: &str = "
    update orders set total = total * 2, secret = 'other' where id % 3 = 0; update orders set secret = 'x' where id = 50;
    insert into orders values (5, 's', 1, 'n') on conflict do nothing; insert into orders values (1000, 's', null, 'n');
    update orders set id = 3 + 2000 where id = 3; update orders set id = 4 where id = 60 and false; delete from orders where id = 20;
    update items set qty = 0 where id in (1, 2, 3); update items set qty = 9 where qty = 0 and id > 50;
    update items set v = 'w' where id % 4 = 0; delete from items where id % 7 = 0; insert into items values (500, 0, 'out'), (501, 1, 'in');";

#[tokio::test]
async fn columns_rows_and_names_are_chosen() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    let routes = "
[[pipeline.table]]
name = \"public.orders\"
target = \"sales.order_totals\"
columns = [\"id\", \"total\"]
filter = \"id > 10\"

[[pipeline.table]]
name = \"public.items\"
filter = \"qty > 0\"
";
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.orders", "public.items"], routes));
    let tables = [
        Table::mapped("(select id, total from public.orders where id > 10)", "sales.order_totals"),
        Table::mapped("(select * from public.items where qty > 0)", "public.items"),
    ];
    pair.settle(&tables).await;
    pair.source.sql(DB, CHANGES).await;
    pair.settle(&tables).await;
    let publication = pair.source.value(DB, "select string_agg(pubname, ' ') from pg_publication").await;
    assert_eq!(publication, "rosetta_src_main", "routes with filters need a publication of their own");
    assert_eq!(pair.destination.value(DB, "select to_regclass('public.orders')").await, "");
}

#[tokio::test]
async fn a_table_goes_to_several_destinations_under_several_names() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    pair.destination.create_database("second").await;
    let config = format!(
        "{}\n[[pipeline.table]]\nname = \"public.orders\"\n\n\
         [[pipeline.table]]\nname = \"public.orders\"\ntarget = \"copy.orders\"\ndestinations = [\"two\"]\n\n\
         [[pipeline.table]]\nname = \"public.items\"\ndestinations = [\"two\"]\n\n\
         [[destination]]\nname = \"two\"\nkind = \"postgres\"\nurl = \"{}\"\n\n\
         [[destination]]\nname = \"nowhere\"\nkind = \"null\"\n",
        pair.config(&["public.*"], "").replace("[\"dst\"]", "[\"dst\", \"two\", \"nowhere\"]"),
        pair.destination.url("second"),
    );
    let _rosetta = pair.rosetta("rosetta", &config);
    let second = oracle::Side { server: &pair.destination, db: "second" };
    let in_second =
        [Table::same("public.orders"), Table::mapped("public.orders", "copy.orders"), Table::same("public.items")];
    for changes in ["", CHANGES] {
        pair.source.sql(DB, changes).await;
        pair.settle(&Table::all(&["public.orders"])).await;
        oracle::assert_equal(pair.source_side(), second, &in_second).await;
    }
    assert_eq!(pair.destination.value(DB, "select to_regclass('public.items')").await, "", "items go to `two` only");
}

#[tokio::test]
async fn a_null_destination_lets_the_slot_advance() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    let config = format!(
        "[[source]]\nname = \"src\"\nurl = \"{}\"\n[[destination]]\nname = \"dst\"\nkind = \"null\"\n\
         [[pipeline]]\nname = \"main\"\nsource = \"src\"\ndestinations = [\"dst\"]\ntables = [\"public.*\"]\n",
        pair.source.url(DB)
    );
    let _rosetta = Rosetta::start(&config, &pair.scratch.join("rosetta"));
    oracle::caught_up(pair.source_side(), SLOT, SOON).await;
    pair.source.sql(DB, CHANGES).await;
    oracle::caught_up(pair.source_side(), SLOT, SOON).await;
}
