//! The catalog against a real config database.

mod changes;
mod outage;
mod secrets;

use std::sync::Arc;

use rosetta_node::catalog::{
    Answer, Caller, Catalog, CatalogSettings, Command, DestinationDefinition, PipelineDefinition, SourceDefinition,
    StoredPipeline,
};
use rosetta_node::config::Settings;
use rosetta_node::postgres::PgUrl;
use rosetta_node::secret::Keyring;
use rosetta_tests::{Options, Postgres};

const NAME: &str = "rosetta";
const OLD_KEY: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW_KEY: &str = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const PASSWORD: &str = "s3cret";

/// A server with the config database, still without tables.
async fn server() -> Postgres {
    let server = Postgres::start(Options::default()).await;
    server.create_database(NAME).await;
    server
}

fn catalog(url: &str, keys: &str) -> Catalog {
    let defaults = Settings::default();
    let settings = CatalogSettings {
        url: PgUrl::parse(url).expect("a URL"),
        main_pool_max: defaults.main_pool_max,
        pipeline_pool_max: defaults.pipeline_pool_max,
    };
    let keys =
        Keyring::from_env(|name| (name == "ROSETTA_SECRET_KEY").then(|| keys.to_owned()).filter(|k| !k.is_empty()));
    Catalog::new(settings, Arc::new(keys.expect("keys"))).expect("a catalog")
}

fn source(password: &str) -> SourceDefinition {
    SourceDefinition { name: "shop".to_owned(), url: format!("postgres://reader:{password}@db.example/shop") }
}

fn mirror() -> DestinationDefinition {
    let url = Some(format!("postgres://writer:{PASSWORD}@mirror.example/shop"));
    DestinationDefinition { name: "mirror".to_owned(), kind: "postgres".to_owned(), url }
}

fn pipeline(name: &str) -> PipelineDefinition {
    PipelineDefinition {
        name: name.to_owned(),
        source: "shop".to_owned(),
        destinations: vec!["mirror".to_owned()],
        tables: vec![format!("public.{name}")],
        ..PipelineDefinition::default()
    }
}

fn create(name: &str) -> Command {
    let (source, destinations) = (Some(source(PASSWORD)), vec![mirror()]);
    Command::Create { pipeline: pipeline(name), source, destinations, paused: false }
}

fn caller(request_id: &str) -> Caller {
    Caller { request_id: Some(request_id.to_owned()), who: "tester".to_owned() }
}

fn stored(answer: Answer) -> StoredPipeline {
    match answer {
        Answer::Pipeline(stored) => *stored,
        other => panic!("{other:?}"),
    }
}

async fn created(catalog: &Catalog, name: &str) -> StoredPipeline {
    stored(catalog.change(&Caller::default(), &create(name)).await.expect("create a pipeline"))
}
