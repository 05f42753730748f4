//! Generates the gRPC code with protox, so that building this crate needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorProto;

const FILES: [&str; 9] =
    ["apply", "backfills", "cluster", "dead_letters", "definition", "event", "node", "peers", "pipelines"];

/// Messages that hold secrets or values of rows: their `Debug` is written by hand (src/redacted.rs).
const WITHOUT_DEBUG: [&str; 4] =
    [".rosetta.v1.Source", ".rosetta.v1.Destination", ".rosetta.v1.DeadLetter", ".rosetta.v1.ColumnValue"];

/// Messages that commands print as JSON, in the words of the definitions file.
const AS_JSON: [&str; 4] =
    [".rosetta.v1.Source", ".rosetta.v1.Destination", ".rosetta.v1.Pipeline", ".rosetta.v1.TableRoute"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = FILES.map(|name| format!("rosetta/v1/{name}.proto"));
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    let mut served = compiler.file_descriptor_set();
    served.file.iter_mut().for_each(keep_comments);
    fs::write(folder.join("rosetta_v1.bin"), served.encode_to_vec())?;
    let mut builder = tonic_prost_build::configure().skip_debug(WITHOUT_DEBUG).out_dir(folder);
    for message in AS_JSON {
        builder = builder.message_attribute(message, "#[derive(serde::Serialize)]");
    }
    builder.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Reflection serves our comments. Where in a file each word stands is of no use there, and would be most of what a
/// process keeps in memory for it.
fn keep_comments(file: &mut FileDescriptorProto) {
    let is_ours = file.package().starts_with("rosetta.");
    let Some(info) = file.source_code_info.as_mut().filter(|_| is_ours) else {
        file.source_code_info = None;
        return;
    };
    info.location.retain(|location| location.leading_comments.is_some() || location.trailing_comments.is_some());
}
