//! The repository's rules as tests, so that reviewers need not remember them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod imports;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use local::{
    functions::needs,
    template::{EventSpec, FunctionSpec, QueueSpec, TEMPLATE, parse},
};
use shared::{
    config::{SETTINGS, TIMELINE_DAYS_DEFAULT, TIMELINE_DAYS_RANGE},
    metrics::Metric,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below `folder` with one of `endings`.
fn read_files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules", "dist", "cdk.out", ".oahub", ".aws-sam"]
                    .contains(&name.as_str())
                {
                    walk(&path, found);
                }
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found
        .into_iter()
        .filter(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)))
        .map(|path| {
            (
                path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

/// Sources that ship: no tests, benches, examples.
fn shipped_sources() -> Vec<(String, String)> {
    let all =
        ["shared/src", "functions", "infra"].into_iter().flat_map(|folder| read_files(folder, &[".rs"]));
    all.filter(|(path, _)| {
        !["/tests/", "/benches/", "/examples/", "tests.rs", "fake.rs"].iter().any(|part| path.contains(part))
    })
    .map(|(path, text)| {
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        (path, text)
    })
    .collect()
}

#[test]
fn every_queue_mapping_reports_item_failures_and_every_queue_has_dead_letters() {
    let template = read("template.yaml");
    let mappings = template.matches("Type: SQS\n").count();
    assert!(mappings > 0);
    assert_eq!(mappings, template.matches("FunctionResponseTypes: [ReportBatchItemFailures]").count());
    let template = parse(TEMPLATE).unwrap();
    let attribute = |queue: &QueueSpec, name: &str| queue.attributes.get(name).cloned();
    let mut mapped = 0;
    for function in &template.functions {
        for event in &function.events {
            let EventSpec::Sqs { queue: name, .. } = event else { continue };
            mapped += 1;
            let queue = template.queues.iter().find(|q| q.logical_id == *name).unwrap();
            assert!(attribute(queue, "RedrivePolicy").is_some(), "{name} has no dead letters");
            let hidden: u64 = attribute(queue, "VisibilityTimeout").unwrap().parse().unwrap();
            let least = 6 * function.timeout.as_secs();
            assert!(hidden >= least, "{name} hides a batch for {hidden} s, less than six times the timeout");
        }
    }
    assert_eq!(mapped, mappings);
    for queue in template.queues.iter().filter(|q| q.logical_id.ends_with("DeadLetters")) {
        let (name, days) = (&queue.logical_id, attribute(queue, "MessageRetentionPeriod"));
        assert_eq!(days.as_deref(), Some("1209600"), "{name} does not keep its messages for two weeks");
    }
}

/// An invocation starts no call to WeChat that could end too late; a short timeout would allow none at all.
#[test]
fn who_calls_wechat_has_time_for_a_token_a_call_and_what_follows() {
    let least = shared::function::DEADLINE_MARGIN
        + 2 * shared::wechat::transport::MAX_CALL_DURATION
        + Duration::from_secs(5);
    let template = parse(TEMPLATE).unwrap();
    let calls = |function: &&FunctionSpec| function.variables.contains("OAHUB_COMPONENT_APP_SECRET");
    let calling: Vec<_> = template.functions.iter().filter(calls).collect();
    assert!(calling.len() > 2, "who calls WeChat?");
    for function in calling {
        assert!(function.timeout >= least, "{}: Timeout is less than {least:?}", function.name);
    }
}

#[test]
fn who_queues_jobs_that_lead_back_to_it_says_so_and_nobody_else() {
    let template = parse(TEMPLATE).unwrap();
    let takes = |queue: &str| {
        let takes =
            |event: &EventSpec| matches!(event, EventSpec::Sqs { queue: taken, .. } if taken == queue);
        template.functions.iter().position(|function| function.events.iter().any(takes))
    };
    let calls = |function: usize| {
        let rights = template.functions[function].permissions.0.iter();
        rights.filter(|right| right.action == "sqs:SendMessage").filter_map(|right| takes(&right.resource))
    };
    for (number, function) in template.functions.iter().enumerate() {
        let (mut reached, mut new) = (BTreeSet::new(), calls(number).collect::<Vec<_>>());
        while let Some(next) = new.pop() {
            if reached.insert(next) {
                new.extend(calls(next));
            }
        }
        let loops = reached.contains(&number);
        assert_eq!(
            function.recursive, loops,
            "{}: RecursiveLoop, and whether its jobs lead back",
            function.name
        );
    }
}

#[test]
fn every_route_has_limits_of_its_own() {
    let template = parse(TEMPLATE).unwrap();
    let mut routes = BTreeSet::new();
    for event in template.functions.iter().flat_map(|function| &function.events) {
        if let EventSpec::Http { method, path } = event {
            routes.insert(format!("{method} {path}"));
        }
    }
    let limited: BTreeSet<_> = template.throttles.keys().cloned().collect();
    assert_eq!(limited, routes, "template.yaml: RouteSettings, and the routes that there are");
}

#[test]
fn the_template_deploys_to_any_partition_and_holds_no_secret() {
    let template = read("template.yaml");
    for line in template.lines() {
        assert!(!line.contains("arn:aws"), "a partition is spelled: {line}");
        let host = line.contains("amazonaws.com")
            && !line.contains("Principal:")
            && !line.contains("com.amazonaws.");
        assert!(!host, "a host is spelled: {line}");
    }
    let secrets: Vec<_> = template
        .lines()
        .filter(|line| line.contains("OAHUB_COMPONENT_") || line.contains("OAHUB_ADMIN_KEY"))
        .collect();
    assert!(secrets.len() >= 8, "the secrets are not where they were");
    for line in secrets {
        assert!(
            line.contains("{{resolve:secretsmanager:${SecretsId}:"),
            "a secret is given in the open: {line}"
        );
    }
    assert!(
        template.contains("    KmsKeyArn: !GetAtt Key.Arn\n"),
        "functions' variables are readable without the key"
    );
    for package in packages() {
        let build = format!("BuildProperties: {{ Binary: bootstrap-{package} }}");
        assert!(template.contains(&build), "sam build would not find the binary of {package}");
        assert!(
            read(&format!("functions/{package}/Cargo.toml"))
                .contains(&format!("name = \"bootstrap-{package}\""))
        );
    }
}

/// The two functions that are open to the internet, the API's and the one for WeChat's pushes, must not hold
/// credentials for WeChat.
#[test]
fn who_is_open_to_all_reads_no_token() {
    let template = parse(TEMPLATE).unwrap();
    for name in ["TenantApi", "MessageCallback"] {
        let function = template.functions.iter().find(|function| function.name == name).unwrap();
        let resources = function.permissions.0.iter().map(|right| right.resource.as_str());
        let tokens: Vec<_> = resources.filter(|resource| resource.starts_with("CredentialsTable")).collect();
        assert!(tokens.is_empty(), "{name} may read {tokens:?}");
        assert!(!function.variables.contains("OAHUB_COMPONENT_APP_SECRET"), "{name} has the app secret");
    }
    let source = read("template.yaml");
    let role =
        source.split("\n  TenantApiRole:\n").nth(1).unwrap().split("\n  TenantApiLogs:\n").next().unwrap();
    assert!(!role.contains("kms:ViaService"), "TenantApi may open the credentials table's key");
}

#[test]
fn keys_are_spelled_in_one_file() {
    for (path, text) in shipped_sources() {
        if path != "shared/src/store/keys.rs" {
            for prefix in [
                "\"FAN#",
                "\"TENANT#",
                "\"ACCOUNT#",
                "\"AUTHORIZER#",
                "\"MESSAGE#",
                "\"IMPORT#",
                "\"WHEEL#",
                "\"TIMER#",
                "\"QUOTA#",
            ] {
                assert!(!text.contains(prefix), "{path} spells a key: {prefix}");
            }
        }
    }
}

#[test]
fn only_the_wechat_room_builds_wechat_urls() {
    for (path, text) in shipped_sources() {
        if !path.starts_with("shared/src/wechat/") && !path.starts_with("infra/wechat-simulator/") {
            for part in ["/cgi-bin/", "/sns/oauth2", "wxaopen/safe"] {
                assert!(!text.contains(part), "{path} builds a WeChat URL: {part}");
            }
        }
    }
}

/// The functions' folders, without cargo's own.
fn packages() -> Vec<String> {
    let folders = fs::read_dir(root().join("functions")).unwrap();
    let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn no_function_calls_a_function() {
    let names = packages();
    for name in &names {
        let manifest = read(&format!("functions/{name}/Cargo.toml"));
        let dependencies =
            manifest.split("[dependencies]").nth(1).unwrap().split("[dev-dependencies]").next().unwrap();
        for other in &names {
            assert!(!dependencies.contains(&format!("\n{other}")), "{name} depends on {other}");
        }
    }
}

#[test]
fn envelope_and_model_are_pure() {
    for folder in ["shared/src/envelope", "shared/src/model"] {
        for (path, text) in read_files(folder, &[".rs"]) {
            for word in ["async ", "tokio::", "aws_sdk", "reqwest", "Clock"] {
                assert!(!text.split("#[cfg(test)]").next().unwrap().contains(word), "{path} holds {word}");
            }
        }
    }
}

#[test]
fn the_readme_lists_the_settings_as_the_code_reads_them() {
    let readme = read("README.md");
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `OAHUB_")).collect();
    assert_eq!(
        rows.len(),
        SETTINGS.len(),
        "README.md's table of settings has other rows than shared::config"
    );
    for (row, setting) in rows.iter().zip(SETTINGS) {
        assert!(row.contains(setting.name), "{} is not at its place: {row}", setting.name);
        assert!(
            row.ends_with(&format!("| {} |", setting.description())),
            "{} is described otherwise: {row}",
            setting.name
        );
    }
}

#[test]
fn each_function_is_told_what_it_needs_and_nothing_else() {
    // given to every function, not listed in NEEDS; the template does not set WeChat's URLs
    let nobodys = ["OAHUB_STACK", "OAHUB_SECRETS_REVISION", "RUST_LOG"];
    for function in parse(TEMPLATE).unwrap().functions {
        let needs = needs(&function.code_uri).unwrap().iter().flat_map(|need| need.settings());
        let needed = needs.map(|setting| setting.name).filter(|name| !name.starts_with("OAHUB_WECHAT_"));
        let needed: BTreeSet<_> = needed.collect();
        let given = function.variables.iter().map(String::as_str).filter(|name| !nobodys.contains(name));
        assert_eq!(
            given.collect::<BTreeSet<_>>(),
            needed,
            "{}: what it is given, and its NEEDS",
            function.name
        );
    }
}

#[test]
fn the_template_takes_the_days_that_the_setting_takes() {
    let template = read("template.yaml");
    let parameter = template.split("\n  TimelineDays:\n").nth(1).unwrap();
    let member = |name: &str| -> i64 {
        let line = parameter.lines().take_while(|line| line.starts_with("    "));
        line.filter_map(|line| line.trim().strip_prefix(name)).next().unwrap().trim().parse().unwrap()
    };
    assert_eq!(member("MinValue:")..=member("MaxValue:"), TIMELINE_DAYS_RANGE);
    assert_eq!(member("Default:"), TIMELINE_DAYS_DEFAULT);
}

#[test]
fn the_cost_of_metrics_and_mappings_is_that_of_those_there_are() {
    let functions = parse(TEMPLATE).unwrap().functions;
    let events = functions.iter().flat_map(|function| &function.events);
    let mappings = events.filter(|event| matches!(event, EventSpec::Sqs { .. })).count();
    let row = format!("| queues that nobody fills | {mappings} mappings × ");
    assert!(read("infra/COST.md").contains(&row), "infra/COST.md has no row {row}");
    let series = u32::try_from(Metric::ALL.len()).unwrap();
    let cents = series.saturating_sub(10) * 30;
    let row = format!(
        "| metrics of the hub's own | {series}, of which 10 are free | {}.{:02} |",
        cents / 100,
        cents % 100
    );
    assert!(read("infra/COST.md").contains(&row), "infra/COST.md has no row {row}");
}

/// All sums in `infra/COST.md` are right to the cent.
#[test]
fn the_sums_of_what_a_deployment_costs_are_sums() {
    let text = read("infra/COST.md");
    let cents = |cell: &str| -> i64 {
        let digits: String = cell.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no money: {cell}"))
    };
    let rows = |section: &str| -> Vec<Vec<String>> {
        let part = text.split(section).nth(1).unwrap().split("\n## ").next().unwrap();
        let table = part.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let rows = table.take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect()
    };
    let fixed = rows("\n## Fixed");
    let (sum, parts) = fixed.split_last().unwrap();
    assert_eq!(cents(&sum[2]), parts.iter().map(|row| cents(&row[2])).sum::<i64>(), "{sum:?}");
    let traffic = rows("\n## Traffic");
    let (sum_of_traffic, parts) = traffic.split_last().unwrap();
    for column in 2..5 {
        let all: i64 = parts.iter().map(|row| cents(&row[column])).sum();
        assert_eq!(cents(&sum_of_traffic[column]), all, "{}", sum_of_traffic[column]);
    }
    let sums = rows("\n## The sum");
    let row = |name: &str| sums.iter().find(|row| row[0].trim_matches('*').starts_with(name)).unwrap();
    let of = |name: &str, column: usize| {
        let cell = row(name)[column].rsplit(": ").next().unwrap().split(", with").next().unwrap();
        if cell.is_empty() { 0 } else { cents(cell) }
    };
    assert_eq!(of("fixed", 1), cents(&sum[2]), "what an idle deployment costs");
    for column in 1..4 {
        assert_eq!(of("traffic", column), cents(&sum_of_traffic[column + 1]));
        let each_month = of("fixed", column) + of("data", column) + of("traffic", column);
        for (stored, all) in
            [("storage and recovery, first", "first"), ("storage and recovery, after", "after")]
        {
            assert_eq!(of(all, column), each_month + of(stored, column), "{all}, column {column}");
        }
    }
}

#[test]
fn functions_leave_nothing_running_and_nothing_on_the_disk() {
    for (path, text) in shipped_sources() {
        if path.starts_with("shared/src/") || path.starts_with("functions/") {
            // Lambda freezes a function between invocations, and the next one finds what the last one left
            for word in ["tokio::spawn", "task::spawn", "JoinSet", "thread::spawn", "\"/tmp", "temp_dir()"] {
                assert!(!text.contains(word), "{path} holds {word}");
            }
        }
    }
}

#[test]
fn files_stay_rooms() {
    for (path, text) in shipped_sources() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{path} has {lines} lines: split it by purpose");
    }
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    let endings = [".rs", ".md", ".toml", ".yaml", ".html", ".json"];
    for (path, text) in read_files(".", &endings) {
        if path.ends_with("tidy/main.rs") {
            continue;
        }
        for word in ["/work/", "/root/", "this session", "artifactory"] {
            assert!(!text.contains(word), "{path} speaks of {word}");
        }
    }
}
