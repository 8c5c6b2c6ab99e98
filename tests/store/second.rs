//! The same writes on an independent DynamoDB implementation: what both do alike is more likely what
//! DynamoDB does. `OAHUB_DYNAMODB` is its URL, or the full path of a ministack to start; if it is not
//! set, the test says so and passes. In the repository's root:
//!
//!     python3 -m venv target/ministack
//!     target/ministack/bin/pip install --require-hashes --requirement infra/validate/ministack.txt
//!     OAHUB_DYNAMODB=$PWD/target/ministack/bin/ministack cargo test -p oahub-tests --test store second -- --nocapture
//!
//! moto 5.2 does not work: it lacks parameters in INSERT and conditions in UPDATE.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

use aws_credential_types::Credentials;
use futures::FutureExt;
use local::template::{self, TableSpec};
use shared::{
    app::{App, Parts},
    aws::AwsClients,
    clock::ManualClock,
    random::Rand,
    wechat::transport::Nowhere,
};

use crate::{
    emulator::Emulator,
    on_paused_time, operations,
    world::{EPOCH, World},
};

/// Where ministack 1.5 differs: it does not fetch the items behind a KEYS_ONLY local index. AWS does: "for
/// each matching item in the index, DynamoDB fetches the entire item from the parent table".
const DIFFERENT: &[(&str, &str)] =
    &[("put_event", "called `Result::unwrap()` on an `Err` value: Item(\"missing field `type`\")")];

/// On a busy machine the emulator may miss our requests' time limits; the row is then retried.
const SLOW: [&str; 2] = ["timed out", "no connection"];
const TRIES: usize = 3;

#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn given() -> Option<String> {
    std::env::var("OAHUB_DYNAMODB").ok()
}

/// The result on the embedded DynamoDB.
fn embedded(what: &str) -> String {
    on_paused_time(async {
        let world = World::new(1);
        world.create_tables().await;
        let app = world.app();
        operations::prepare(&app.store).await;
        operations::act(what, &app.store).await
    })
}

/// Services over separate tables at `url`.
async fn app(url: &str, number: usize) -> Arc<App> {
    let mut config = World::new(1).app().config.clone();
    let name = |table: &str| format!("{table}-{}-{number}", std::process::id());
    let resources = &mut config.resources;
    for table in [
        &mut resources.platform_table,
        &mut resources.credentials_table,
        &mut resources.customers_table,
        &mut resources.timeline_table,
        &mut resources.work_table,
    ] {
        *table = name(table);
    }
    (resources.dynamodb_url, resources.sqs_url) = (Some(url.to_owned()), Some(url.to_owned()));
    let aws = AwsClients::new(resources, Credentials::new("test", "test", None, None, "test"));
    let tables: Vec<_> = template::parse(template::TEMPLATE)
        .unwrap()
        .tables
        .into_iter()
        .map(|table| TableSpec { name: name(&table.name), ..table })
        .collect();
    local::database::create_tables(&aws.dynamodb, &tables).await.unwrap();
    let clock = Arc::new(ManualClock::at(EPOCH));
    let random = Arc::new(Rand::seeded(u64::try_from(number).unwrap()));
    App::new(config, Parts { clock, random, transport: Arc::new(Nowhere), aws }).unwrap()
}

/// The result on the DynamoDB at `url`, or the error.
async fn other(url: &str, number: usize, what: &str) -> String {
    let mut seen = String::new();
    for attempt in 0..TRIES {
        let act = async {
            let app = app(url, number + attempt * operations::ALL.len()).await;
            operations::prepare(&app.store).await;
            operations::act(what, &app.store).await
        };
        let ended = AssertUnwindSafe(act).catch_unwind().await;
        seen =
            ended.unwrap_or_else(|panic| panic.downcast::<String>().map_or("it panics".into(), |text| *text));
        if !SLOW.iter().any(|why| seen.contains(why)) {
            break;
        }
    }
    seen
}

#[test]
fn every_write_does_the_same_over_a_second_dynamodb() {
    let Some(given) = given() else {
        println!(
            "skipped: OAHUB_DYNAMODB names no other DynamoDB (tests/store/second.rs says how to have one)"
        );
        return;
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let started = (!given.starts_with("http")).then(|| runtime.block_on(Emulator::start(given.as_ref())));
    let url = started.as_ref().map_or(given, |emulator| emulator.url.clone());
    let known: BTreeMap<_, _> = DIFFERENT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (number, (what, _)) in operations::ALL.iter().enumerate() {
        let answer = runtime.block_on(other(&url, number, what));
        let expected = known.get(what).map_or_else(|| embedded(what), |known| (*known).to_owned());
        if answer != expected {
            wrong.push(format!("{what} answers {answer} in place of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
