//! The local program from its operator's view: where it listens, what it leaves on disk, what it prints.

use std::{os::unix::fs::PermissionsExt, path::Path};

use oahub_tests::{
    hub::{ADMIN_KEY, Hub, settings},
    process::{Process, TempDirectory},
    run,
};
use reqwest::StatusCode;

const UNREACHABLE_URL: &str = "http://127.0.0.1:9";
const PUBLIC_URL: &str = "https://hub.example";

/// A started program.
struct StartedProgram {
    directory: TempDirectory,
    process: Process,
}

impl StartedProgram {
    fn live(arguments: &[&str]) -> Self {
        let settings = settings(UNREACHABLE_URL, PUBLIC_URL);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self::with(&[&["--wechat", "live"], arguments].concat(), &settings)
    }

    fn with(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::in_directory(TempDirectory::new(), arguments, settings)
    }

    /// Starts again on existing data.
    fn in_directory(directory: TempDirectory, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let data = directory.path().join("data").display().to_string();
        let arguments = [&["--data", &data][..], arguments].concat();
        let process = Process::spawn(&arguments, settings, &directory.path().join("log"));
        Self { directory, process }
    }

    async fn url(&mut self) -> String {
        let line = self.process.next_line().await;
        let line = line.unwrap_or_else(|| panic!("it did not start: {}", log(&self.directory)));
        line.strip_prefix("oahub ready on ").unwrap().to_owned()
    }

    /// Waits for a failed start; returns its log.
    async fn start_error(mut self) -> (TempDirectory, String) {
        assert_eq!(self.process.next_line().await, None, "it started");
        let code = self.process.wait_for_exit().await.code();
        assert!(code.is_some_and(|code| code != 0), "{code:?}");
        let said = log(&self.directory);
        (self.directory, said)
    }
}

fn log(directory: &TempDirectory) -> String {
    std::fs::read_to_string(directory.path().join("log")).unwrap()
}

/// Ports that a process listens on; [`None`] where there is no `/proc`.
fn listening_ports(id: u32) -> Option<Vec<u16>> {
    let inode = |link: std::io::Result<std::fs::DirEntry>| {
        let link = std::fs::read_link(link.ok()?.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
    };
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.filter_map(inode).collect();
    let table = std::fs::read_to_string(format!("/proc/{id}/net/tcp")).ok()?;
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens =
            fields.get(3) == Some(&"0A") && own.iter().any(|inode| fields.get(9) == Some(&inode.as_str()));
        listens.then(|| u16::from_str_radix(fields[1].split(':').nth(1)?, 16).ok())?
    };
    Some(table.lines().skip(1).filter_map(port).collect())
}

#[test]
fn it_listens_where_it_says_and_nowhere_else() {
    run(async {
        let mut start = StartedProgram::live(&["--listen", "127.0.0.1:0"]);
        let url = start.url().await;
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        if let Some(ports) = listening_ports(start.process.id()) {
            assert_eq!(ports, [port], "a database or a queue without a lock");
        }
        assert!(start.process.terminate().await.success());

        let mut start = StartedProgram::with(&["--listen", "127.0.0.1:0"], &[]);
        let url = start.url().await;
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        if let Some(mut ports) = listening_ports(start.process.id()) {
            ports.sort_unstable();
            assert_eq!(ports, [port, port + 1], "the gateway, and the simulated WeChat on the next port");
        }
    });
}

#[test]
fn it_answers_to_its_own_names_alone() {
    run(async {
        let mut start = StartedProgram::live(&["--listen", "127.0.0.1:0"]);
        let url = start.url().await;
        let port = url.rsplit(':').next().unwrap().to_owned();
        for (what, host, status) in [
            ("the public name", "hub.example".to_owned(), StatusCode::OK),
            ("loopback's name", format!("localhost:{port}"), StatusCode::OK),
            ("the address", format!("127.0.0.1:{port}"), StatusCode::OK),
            ("a name that leads here", format!("evil.example:{port}"), StatusCode::MISDIRECTED_REQUEST),
        ] {
            let answer =
                oahub_tests::api::http_client().get(format!("{url}/healthz")).header("host", &host).send();
            assert_eq!(answer.await.unwrap().status(), status, "{what}");
        }
    });
}

#[test]
fn its_folder_is_its_owners_and_remembers_what_it_was_made_for() {
    run(async {
        let mut start = StartedProgram::live(&["--listen", "127.0.0.1:0"]);
        start.url().await;
        let folder = start.directory.path().join("data");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        let StartedProgram { directory, process } = start;
        assert!(process.terminate().await.success());
        let log = std::fs::metadata(folder.join("dynamodb.sqlite-wal")).map(|log| log.len()).unwrap_or(0);
        assert_eq!(log, 0, "a stop leaves the database in its file, and no log beside it");

        let (directory, said) =
            StartedProgram::in_directory(directory, &["--listen", "127.0.0.1:0"], &[]).start_error().await;
        assert!(said.contains("--wechat live") && said.contains("--data"), "{said}");
        let mut other = settings(UNREACHABLE_URL, PUBLIC_URL);
        other.retain(|(name, _)| *name != "OAHUB_COMPONENT_APP_ID");
        other.push(("OAHUB_COMPONENT_APP_ID", "wx0123456789abcdef".into()));
        let other: Vec<_> = other.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let arguments = ["--listen", "127.0.0.1:0", "--wechat", "live"];
        let (directory, said) =
            StartedProgram::in_directory(directory, &arguments, &other).start_error().await;
        assert!(said.contains(oahub_tests::hub::COMPONENT_APP_ID), "{said}");
        let right = settings(UNREACHABLE_URL, PUBLIC_URL);
        let right: Vec<_> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
        StartedProgram::in_directory(directory, &arguments, &right).url().await;
    });
}

#[test]
fn a_start_that_cannot_be_says_why_and_leaves_nothing() {
    run(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
        let before = format!("127.0.0.1:{}", taken.1.port() - 1);
        let address = taken.1.to_string();
        for (what, arguments, says) in [
            ("a port that is taken", &["--wechat", "live", "--listen", &address][..], &address[..]),
            ("the simulated WeChat's port taken", &["--listen", &before], &address),
            ("no port after it", &["--listen", "127.0.0.1:65535"], "65535"),
            ("open to others with everybody's key", &["--listen", "0.0.0.0:0"], "OAHUB_ADMIN_KEY"),
            (
                "open to others with a short key",
                &["--listen", "0.0.0.0:0", "--tick", "9"],
                "32 random characters",
            ),
            ("a port alone", &["--listen", "3000"], "127.0.0.1:3000"),
        ] {
            let given = match arguments.contains(&"live") {
                true => settings(UNREACHABLE_URL, PUBLIC_URL),
                false if arguments.contains(&"9") => vec![("OAHUB_ADMIN_KEY", "short".to_owned())],
                false => Vec::new(),
            };
            let given: Vec<_> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (directory, said) = StartedProgram::with(arguments, &given).start_error().await;
            assert!(said.contains(says), "{what}: {said}");
            assert!(!directory.path().join("data").exists(), "{what}: a folder stays");
        }
    });
}

#[test]
fn an_operators_own_key_is_never_printed() {
    run(async {
        let mut start = StartedProgram::with(&["--listen", "127.0.0.1:0"], &[("OAHUB_ADMIN_KEY", ADMIN_KEY)]);
        start.url().await;
        let StartedProgram { directory, process } = start;
        assert!(process.terminate().await.success());
        assert!(!log(&directory).contains(ADMIN_KEY), "{}", log(&directory));

        let mut start = StartedProgram::live(&["--listen", "127.0.0.1:0"]);
        start.url().await;
        let StartedProgram { directory, process } = start;
        assert!(process.terminate().await.success());
        let said = log(&directory);
        assert!(!said.contains(ADMIN_KEY), "{said}");
        for url in ["https://hub.example/wechat/component", "https://hub.example/wechat/accounts/$APPID$"] {
            assert!(said.contains(url), "what to enter at WeChat: {url}: {said}");
        }
    });
}

#[test]
fn with_log_json_every_line_is_json_and_no_log_in_a_file_has_colours() {
    run(async {
        let json = ["--log", "json", "--listen"];
        let mut start = StartedProgram::live(&[&json[..], &["127.0.0.1:0"]].concat());
        start.url().await;
        let StartedProgram { directory, process } = start;
        assert!(process.terminate().await.success());
        let mut said = vec![log(&directory)];
        for arguments in [["127.0.0.1:65535"], ["3000"]] {
            said.push(StartedProgram::with(&[&json[..], &arguments].concat(), &[]).start_error().await.1);
        }
        for said in said {
            assert!(!said.is_empty());
            for line in said.lines() {
                assert!(
                    serde_json::from_str::<serde_json::Value>(line).is_ok_and(|l| l.is_object()),
                    "{line}"
                );
            }
        }
        let mut start = StartedProgram::live(&["--listen", "127.0.0.1:0"]);
        start.url().await;
        let StartedProgram { directory, process } = start;
        assert!(process.terminate().await.success());
        assert!(!log(&directory).contains('\u{1b}'), "{}", log(&directory));
    });
}

#[test]
fn a_new_aws_account_is_enough_to_begin_with() {
    run(async {
        let hub = Hub::with_flags(&["--aws-concurrency", "10", "--aws-throttles", "true"]).await;
        let account = hub.add_service_account(3);
        let tenant = hub.create_tenant().await;
        tenant.bind(&account).await;
        let open_id = hub.newest_follower(&account).openid;
        hub.say(&account, &open_id, "hello").await;
        let mut refused = 0;
        for _ in 0..200 {
            let answer =
                oahub_tests::api::http_client().get(format!("{}/docs", hub.url)).send().await.unwrap();
            refused += u32::from(answer.status() == StatusCode::TOO_MANY_REQUESTS);
        }
        assert!(refused > 0, "a flood of one route is refused");
        hub.say(&account, &open_id, "still here").await;
    });
}
