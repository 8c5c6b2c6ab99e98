//! Size and speed of each function beside the baseline: run by `cargo bench -p oahub-tests --bench
//! cold_start`. Builds what it measures and prints the table of BENCHMARKS.md.
//!
//! Numbers are medians of [`PROCESSES`] runs. `start`: from exec to the first `GET …/invocation/next`, by
//! the clock and in processor time, which says more on a machine that does other things. `first` and `warm`: an
//! invocation that reads and writes nothing, with the Runtime API's own share. `memory`: the most that was resident
//! after it. Fails if a binary is too large; times are for people to judge.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use local::{environment::resource_variables, template};
use oahub_tests::{
    binary,
    lambda::{
        events,
        instance::{Instance, Launch},
        runtime_api::InvocationOutcome,
    },
    process::peak_memory,
    run,
};
use serde_json::{Value, json};

/// Processes of each function.
const PROCESSES: usize = 11;
/// Invocations of a warm process.
const WARM_INVOCATIONS: usize = 300;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a function's binary, and of tenant-api's, which has the most to do and the least hurry.
const MAX_BINARY_BYTES: f64 = 10e6;
const MAX_TENANT_API_BYTES: f64 = 11e6;

struct Measurement {
    name: String,
    bytes: f64,
    zipped: f64,
    start_ms: f64,
    start_cpu_ms: f64,
    first_ms: f64,
    warm_us: f64,
    memory_kb: f64,
}

fn main() {
    run(async {
        let floor = measure(launch("floor", binary::floor()), events::http("GET", "/", "", "")).await;
        let echo = "signature=0&timestamp=1&nonce=2&echostr=x"; // refused, after its signature was checked
        let mut all = vec![floor];
        for (function, event) in [
            ("message-callback", events::http("GET", "/wechat/accounts/wx0000000000000001", echo, "")),
            ("authorization-callback", json!({"Records": []})),
            ("token-refresh", json!({"Records": []})),
            ("follower-import", json!({"Records": []})),
            ("message-send", json!({"Records": []})),
            ("tenant-api", events::http("GET", "/healthz", "", "")),
        ] {
            all.push(
                measure(launch(function, binary::bootstrap(binary::release_functions(), function)), event)
                    .await,
            );
        }
        print(&all);
        for one in &all {
            let most = if one.name == "tenant-api" { MAX_TENANT_API_BYTES } else { MAX_BINARY_BYTES };
            assert!(one.bytes < most, "{} has {} bytes", one.name, one.bytes);
        }
    });
}

fn launch(function: &str, binary: std::path::PathBuf) -> Launch {
    let mut settings: Vec<_> = oahub_tests::hub::settings("https://api.weixin.qq.com", "https://hub.example");
    settings.push(("RUST_LOG", "off".into()));
    let template = template::parse(template::TEMPLATE).unwrap();
    let mut environment = resource_variables(&template);
    environment.extend(settings.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Launch { name: function.into(), binary, environment, memory_mb: None, max_descriptors: None }
}

async fn measure(launch: Launch, event: Value) -> Measurement {
    let event = event.to_string();
    let (mut starts, mut cpus, mut firsts, mut warms, mut memories) =
        (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..PROCESSES {
        let instance = Instance::start(&launch, false).await;
        let Some(start) = instance.init_duration().await else {
            panic!("{}: {}", launch.name, instance.log())
        };
        cpus.push(instance.cpu_time().unwrap().as_secs_f64() * 1e3);
        starts.push(start.as_secs_f64() * 1e3);
        firsts.push(invoke(&instance, &event).await * 1e3);
        let mut warm = Vec::new();
        for _ in 0..WARM_INVOCATIONS {
            warm.push(invoke(&instance, &event).await * 1e6);
        }
        warms.push(median(warm));
        memories.push(peak_memory(instance.id()).unwrap() as f64 / 1024.0);
    }
    Measurement {
        bytes: launch.binary.metadata().unwrap().len() as f64,
        zipped: zipped(&launch.binary),
        start_ms: median(starts),
        start_cpu_ms: median(cpus),
        first_ms: median(firsts),
        warm_us: median(warms),
        memory_kb: median(memories),
        name: launch.name,
    }
}

async fn invoke(instance: &Instance, event: &str) -> f64 {
    let begun = Instant::now();
    let outcome = instance.invoke(event.to_owned(), TIMEOUT).await;
    let took = begun.elapsed().as_secs_f64();
    assert!(matches!(outcome, InvocationOutcome::Response(_)), "{outcome:?}: {}", instance.log());
    took
}

/// Bytes by gzip, whose method a zip file uses too.
fn zipped(binary: &Path) -> f64 {
    let gzip = Command::new("gzip").args(["-9", "-c"]).arg(binary).output().unwrap();
    assert!(gzip.status.success(), "gzip: {}", String::from_utf8_lossy(&gzip.stderr));
    gzip.stdout.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(all: &[Measurement]) {
    println!("| function | MB | zipped MB | start ms | start CPU ms | first ms | warm µs | memory MB |");
    println!("|---|---|---|---|---|---|---|---|");
    let floor = &all[0];
    for one in all {
        let cell = |value: f64, of: f64, unit: f64, digits: usize| {
            let ratio =
                if std::ptr::eq(one, floor) { String::new() } else { format!(" ({:.2})", value / of) };
            format!("{:.digits$}{ratio}", value / unit)
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            one.name,
            cell(one.bytes, floor.bytes, 1e6, 2),
            cell(one.zipped, floor.zipped, 1e6, 2),
            cell(one.start_ms, floor.start_ms, 1.0, 1),
            cell(one.start_cpu_ms, floor.start_cpu_ms, 1.0, 1),
            cell(one.first_ms, floor.first_ms, 1.0, 2),
            cell(one.warm_us, floor.warm_us, 1.0, 0),
            cell(one.memory_kb, floor.memory_kb, 1e3, 1),
        );
    }
}
