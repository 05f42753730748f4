//! The types that every PostgreSQL has.

use rosetta_tests::{Options, Pair};

use super::{Family, odd_settings, round_trip};

#[tokio::test]
async fn are_equal_to_the_last_byte() {
    let pair = Pair::start().await;
    round_trip(&pair, &families(), false).await;
}

/// The old values in the stream are the whole row, and rows are found by the key all the same.
#[tokio::test]
async fn are_equal_with_replica_identity_full() {
    let pair = Pair::start().await;
    round_trip(&pair, &families(), true).await;
}

#[tokio::test]
async fn are_equal_whatever_the_servers_are_set_to() {
    let pair = Pair::with(odd_settings(), Options::default().set("TimeZone", "Asia/Kathmandu")).await;
    round_trip(&pair, &families(), false).await;
}

fn families() -> Vec<Family> {
    vec![
        numbers(),
        system(),
        high_bytes(),
        texts(),
        documents(),
        times(),
        arrays(),
        ranges(),
        networks(),
        shapes(),
        searches(),
    ]
}

fn numbers() -> Family {
    Family {
        table: "numbers",
        columns: vec![
            ("int2", &["-32768", "32767", "0"]),
            ("int4", &["-2147483648", "2147483647", "0"]),
            ("int8", &["-9223372036854775808", "9223372036854775807", "0"]),
            (
                "numeric",
                &[
                    "NaN",
                    "Infinity",
                    "-Infinity",
                    "1.000",
                    "-0.0",
                    "0",
                    "1e-16383",
                    "=repeat('9', 131072)",
                    "='0.' || repeat('1', 16383)",
                    "-10000.00010000",
                    "9999",
                    "10000",
                ],
            ),
            ("numeric(10, 2)", &["12345678.90", "-0.01", "NaN"]),
            ("numeric(5, -2)", &["1234567", "-49"]),
            ("numeric(3, 6)", &["0.000999", "-0.000001"]),
            ("float4", &["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "0.1", "1.17549435e-38"]),
            (
                "float8",
                &[
                    "NaN",
                    "Infinity",
                    "-Infinity",
                    "-0",
                    "5e-324",
                    "1.7976931348623157e308",
                    "0.1",
                    "0.30000000000000004",
                ],
            ),
            ("money", &["-92233720368547758.08", "92233720368547758.07", "0.01", "-0.01"]),
            ("bool", &["t", "f"]),
        ],
    }
}

fn system() -> Family {
    Family {
        table: "system_values",
        columns: vec![
            ("oid", &["0", "4294967295"]),
            ("xid", &["4294967295", "3"]),
            ("xid8", &["18446744073709551615", "0"]),
            ("cid", &["4294967295", "0"]),
            ("tid", &["(4294967295,65535)", "(0,0)"]),
            ("regclass", &["pg_class", "pg_catalog.pg_type"]),
            ("regtype", &["int4", "character varying", "timestamptz[]"]),
            ("regproc", &["pg_sleep", "pg_catalog.pg_backend_pid"]),
            ("regprocedure", &["lower(text)", "numeric_add(numeric, numeric)"]),
            ("regoperator", &["+(int4,int4)", "||(text,text)"]),
            ("regnamespace", &["pg_catalog"]),
            ("regrole", &["postgres", "pg_monitor"]),
            ("regconfig", &["pg_catalog.english", "pg_catalog.simple"]),
            ("regdictionary", &["pg_catalog.simple"]),
            ("regcollation", &["\"C\"", "\"POSIX\""]),
            ("oidvector", &["", "1 2 4294967295"]),
            ("int2vector", &["", "1 -2 32767"]),
            ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
            ("pg_snapshot", &["10:20:10,14,15", "1:1:"]),
            ("txid_snapshot", &["10:20:10,14,15", "1:1:"]),
            ("uuid", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
        ],
    }
}

/// Before PostgreSQL 16 the text of such a "char" is a byte that is not valid UTF-8.
fn high_bytes() -> Family {
    Family { table: "high_bytes", columns: vec![("\"char\"", &["a", "", "=(-1)", "=(-128)", "\\", "\""])] }
}

fn texts() -> Family {
    Family {
        table: "texts",
        columns: vec![
            ("name", &["", "=repeat('n', 63)", "with \"quotes\""]),
            ("char(5)", &["a", "", "a b", "äöü", "abcde"]),
            ("char", &["x", " "]),
            ("varchar(10)", &["", "  trailing ", "ten chars!"]),
            (
                "text",
                &[
                    "",
                    "NULL",
                    "null",
                    "\\N",
                    "\\.",
                    "\\",
                    "=E'tab\\tnew\\nline\\rreturn\\b\\f\\v\\x01\\x7f'",
                    "😀 𝄞 ǅ e\u{301} \u{feff}",
                    "'quoted' \"double\" $tag$",
                    "=repeat('é', 100000)",
                    "{a,b}",
                    "(a,b)",
                    ",",
                    " ",
                ],
            ),
            (
                "bytea",
                &[
                    "",
                    "\\x00",
                    "\\xff",
                    "=(select string_agg(set_byte('\\x00'::bytea, 0, i), '' order by i) from generate_series(0, 255) i)",
                    "=(select string_agg(decode(md5(i::text), 'hex'), '') from generate_series(1, 10000) i)",
                ],
            ),
            ("bit(1)", &["0", "1"]),
            ("bit(70)", &["=repeat('10', 35)", "=repeat('0', 70)"]),
            ("varbit", &["", "0001", "1", "=repeat('1', 1000)"]),
            ("refcursor", &["cursor", ""]),
        ],
    }
}

fn documents() -> Family {
    Family {
        table: "documents",
        columns: vec![
            (
                "json",
                &[
                    "{\"a\":1,\"a\":2,  \"b\" :null}",
                    "\"\\u0000\"",
                    "1e400",
                    "null",
                    "\"\\ud800\"",
                    " [1, 2.50 ,{}]\n",
                    "{\"é\":\"😀\"}",
                    "12345678901234567890.123456789012345678901234567890",
                ],
            ),
            (
                "jsonb",
                &[
                    "{\"b\":1,\"a\":[1.0,1.00],\"a\":\"last\"}",
                    "null",
                    "[[[[]]]]",
                    "=('1' || repeat('0', 400))",
                    "1e400",
                    "\"\"",
                    "{\"\":{}}",
                    "=(repeat('[', 500) || repeat(']', 500))",
                    "=(select jsonb_object_agg(i, md5(i::text)) from generate_series(1, 5000) i)",
                ],
            ),
            ("jsonpath", &["$.a[*] ? (@ > 1)", "strict $.\"b c\".type()", "lax $"]),
            (
                "xml",
                &[
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a b='1'>ü</a>",
                    "<a/>text<b/>",
                    "",
                    "<!-- c --><a><![CDATA[<>]]></a>",
                    "&lt;&amp;",
                ],
            ),
        ],
    }
}

fn times() -> Family {
    Family {
        table: "times",
        columns: vec![
            (
                "date",
                &["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "1970-01-01", "0001-01-01", "2000-02-29"],
            ),
            ("time", &["24:00:00", "00:00:00", "23:59:59.999999", "00:00:00.000001"]),
            ("time(3)", &["12:34:56.789", "24:00:00"]),
            ("timetz", &["24:00:00+15:59:59", "12:00:00-03:30:15", "00:00:00-15:59:59", "12:00:00+00"]),
            (
                "timestamp",
                &[
                    "infinity",
                    "-infinity",
                    "4713-01-01 00:00:00 BC",
                    "294276-12-31 23:59:59.999999",
                    "1969-12-31 23:59:59.999999",
                    "2000-01-01 00:00:00",
                    "0001-12-31 23:59:59 BC",
                ],
            ),
            ("timestamp(0)", &["2024-02-29 23:59:59", "infinity"]),
            (
                "timestamptz",
                &[
                    "infinity",
                    "-infinity",
                    "4713-01-01 00:00:00+00 BC",
                    "294276-12-31 23:59:59.999999+00",
                    "2023-10-29 02:30:00 Europe/Berlin",
                    "2023-10-29 01:30:00+00",
                    "1883-11-18 12:03:57 America/New_York",
                ],
            ),
            (
                "interval",
                &[
                    "1 mon -1 day +00:00:00.000001",
                    "-178000000 years",
                    "178000000 years",
                    "1 year 2 mons 3 days 04:05:06.789",
                    "-1 mon 1 day -1 sec",
                    "0",
                    "100 hours",
                    "2147483647 days",
                ],
            ),
            ("interval day to second(2)", &["3 days 04:05:06.78", "-00:00:00.01"]),
            ("interval year to month", &["1 year 2 mons", "-13 mons"]),
        ],
    }
}

fn arrays() -> Family {
    Family {
        table: "arrays",
        columns: vec![
            ("int4[]", &["{}", "{NULL,1}", "[0:1]={1,2}", "{{1,2},{3,4}}", "[-2:-1][5:6]={{1,2},{3,NULL}}"]),
            (
                "text[]",
                &[
                    "{\"NULL\",NULL,\"null\"}",
                    "{\"a\\\"b\",\"\\\\\",\"{x}\",\"\",\"a,b\",\" \"}",
                    "{{a,b},{c,NULL}}",
                    "{😀}",
                    "{}",
                    "=array(select md5(i::text) from generate_series(1, 3000) i)",
                ],
            ),
            ("box[]", &["{(1,1),(0,0);(2,2),(1,1)}", "{}"]),
            ("bytea[]", &["{\"\\\\x00ff\",\"\\\\x\",NULL}"]),
            ("json[]", &["{\"{\\\"a\\\": 1, \\\"a\\\": 2}\",null}", "{1,\"\\\"x\\\"\"}"]),
            ("jsonb[]", &["{\"{\\\"a\\\": 1}\",NULL}"]),
            ("numeric[]", &["{NaN,1.00,-Infinity,NULL}"]),
            ("numeric(6, 2)[]", &["{1.5,-2}"]),
            ("float8[]", &["{NaN,-0,5e-324}"]),
            ("bool[]", &["{t,f,NULL}"]),
            ("uuid[]", &["{00000000-0000-0000-0000-000000000000,NULL}"]),
            ("char(3)[]", &["{a,\"ab \"}"]),
            ("varchar(4)[]", &["{\"a  \",\"\"}"]),
            ("bit(3)[]", &["{101,000}"]),
            ("interval[]", &["{\"1 mon -1 day\",NULL}"]),
            ("inet[]", &["{10.0.0.1/8,::1}"]),
            ("point[]", &["{\"(1,2)\",\"(NaN,Infinity)\"}"]),
            ("int4range[]", &["{\"[1,5)\",empty,\"(,)\"}"]),
            ("xml[]", &["{\"<a b=\\\"1\\\"/>\",x}"]),
            ("regtype[]", &["{int4,text}"]),
            ("name[]", &["{a,\"\"}"]),
            ("money[]", &["{1.00,-2.50}"]),
        ],
    }
}

fn ranges() -> Family {
    Family {
        table: "ranges",
        columns: vec![
            ("int4range", &["empty", "(,)", "[1,5)", "(,5]", "[2147483646,)", "[1,1]"]),
            ("int8range", &["empty", "[-9223372036854775808,9223372036854775807)", "(1,2)"]),
            ("numrange", &["[1.0,1.00]", "(-Infinity,NaN)", "[1.5,)", "empty", "(1.0,1.0)"]),
            ("daterange", &["[2024-01-01,2024-12-31]", "[-infinity,infinity]", "(,infinity)", "empty"]),
            ("tsrange", &["[2024-01-01,infinity)", "[2024-01-01 12:00,)", "[infinity,infinity]"]),
            ("tstzrange", &["[2024-01-01 00:00+02,2024-06-01 00:00+02)", "(,)"]),
            ("int4multirange", &["{}", "{[1,2),[5,8)}", "{(,)}"]),
            ("int8multirange", &["{[1,2),[2,3)}"]),
            ("nummultirange", &["{[1.0,2.00),(3,)}", "{}"]),
            ("datemultirange", &["{[2024-01-01,2024-02-01),[2025-01-01,infinity]}"]),
            ("tsmultirange", &["{[2024-01-01,2024-02-01)}", "{}"]),
            ("tstzmultirange", &["{[2024-01-01 00:00+00,)}"]),
        ],
    }
}

fn networks() -> Family {
    Family {
        table: "networks",
        columns: vec![
            ("inet", &["192.168.1.5/24", "::ffff:1.2.3.4", "0.0.0.0/0", "10.0.0.1", "::/0", "2001:db8::1/64"]),
            ("cidr", &["10.0.0.0/8", "::/0", "192.168.1.1/32", "2001:db8::/32"]),
            ("macaddr", &["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"]),
            ("macaddr8", &["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"]),
        ],
    }
}

fn shapes() -> Family {
    Family {
        table: "shapes",
        columns: vec![
            ("point", &["(NaN,Infinity)", "(1.5,-2)", "(-0,5e-324)"]),
            ("line", &["{1,2,3}", "{0,-1,0.1}"]),
            ("lseg", &["[(0,0),(1,1)]", "[(0.1,0.2),(-Infinity,NaN)]"]),
            ("box", &["(3,4),(1,2)", "(0,0),(0,0)"]),
            ("path", &["[(0,0),(1,1)]", "((0,0),(1,1))", "[(1,2)]"]),
            ("polygon", &["((0,0),(1,1),(1,0))", "((5,5))"]),
            ("circle", &["<(1,2),3>", "<(0,0),0>"]),
        ],
    }
}

fn searches() -> Family {
    Family {
        table: "searches",
        columns: vec![
            ("tsvector", &["'a':1A 'it''s':2B,3C plain", "", "'\\\\':16383 'with space':5", "a b c"]),
            ("tsquery", &["'a' & !'b':AB | 'c':*", "", "'x y' <-> 'it''s' <3> z", "!!a"]),
        ],
    }
}
