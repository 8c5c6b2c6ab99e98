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
use oahub_harness::{backends::START_TIME, deployment::SimulatedDeployment};
use shared::{
    aws::AwsClients,
    clock::ManualClock,
    random::StdRandom,
    services::{Dependencies, Services},
    wechat::transport::NoTransport,
};

use crate::{emulator::Emulator, on_paused_time, operations};

/// Where ministack 1.5 differs: it does not fetch the items behind a KEYS_ONLY local index. AWS does: "for
/// each matching item in the index, DynamoDB fetches the entire item from the parent table".
const KNOWN_DIFFERENCES: &[(&str, &str)] = &[(
    "Timeline::insert_once",
    "called `Result::unwrap()` on an `Err` value: Item(\"missing field `type`\")",
)];

/// On a busy machine the emulator may miss our requests' time limits; the row is then retried.
const TIMEOUT_ERRORS: [&str; 2] = ["timed out", "no connection"];
const MAX_TRIES: usize = 3;

#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn dynamodb_from_environment() -> Option<String> {
    std::env::var("OAHUB_DYNAMODB").ok()
}

/// The result on the embedded DynamoDB.
fn act_on_embedded(what: &str) -> String {
    on_paused_time(async {
        let world = SimulatedDeployment::new(1);
        world.create_tables().await;
        let app = world.services();
        operations::prepare(&app.store).await;
        operations::perform(what, &app.store).await
    })
}

/// Services over separate tables at `url`.
async fn services_over(url: &str, number: usize) -> Arc<Services> {
    let mut config = SimulatedDeployment::new(1).services().config.clone();
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
    local::database::tables::create_tables(&aws.dynamodb, &tables).await.unwrap();
    let clock = Arc::new(ManualClock::at(START_TIME));
    let random = Arc::new(StdRandom::seeded(u64::try_from(number).unwrap()));
    Services::new(config, Dependencies { clock, random, transport: Arc::new(NoTransport), aws }).unwrap()
}

/// The result on the DynamoDB at `url`, or the error.
async fn act_on_second(url: &str, number: usize, what: &str) -> String {
    let mut seen = String::new();
    for attempt in 0..MAX_TRIES {
        let act = async {
            let app = services_over(url, number + attempt * operations::writes().count()).await;
            operations::prepare(&app.store).await;
            operations::perform(what, &app.store).await
        };
        let ended = AssertUnwindSafe(act).catch_unwind().await;
        seen =
            ended.unwrap_or_else(|panic| panic.downcast::<String>().map_or("it panics".into(), |text| *text));
        if !TIMEOUT_ERRORS.iter().any(|why| seen.contains(why)) {
            break;
        }
    }
    seen
}

#[test]
fn every_write_does_the_same_over_a_second_dynamodb() {
    let Some(given) = dynamodb_from_environment() else {
        println!(
            "skipped: OAHUB_DYNAMODB names no other DynamoDB (tests/store/second_dynamodb.rs says how to have one)"
        );
        return;
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let started = (!given.starts_with("http")).then(|| runtime.block_on(Emulator::start(given.as_ref())));
    let url = started.as_ref().map_or(given, |emulator| emulator.url.clone());
    let known: BTreeMap<_, _> = KNOWN_DIFFERENCES.iter().copied().collect();
    let mut wrong = Vec::new();
    for (number, (what, _)) in operations::writes().enumerate() {
        let answer = runtime.block_on(act_on_second(&url, number, what));
        let expected = known.get(what).map_or_else(|| act_on_embedded(what), |known| (*known).to_owned());
        if answer != expected {
            wrong.push(format!("{what} answers {answer} in place of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
