//! The processes of a hub's functions, read from `/proc`.

use std::{collections::BTreeMap, process::Command, time::Duration};

use oahub_tests::{binary::FUNCTIONS, hub::Hub};

/// The running processes of a function.
pub fn of(hub: &Hub, function: &str) -> Vec<u32> {
    let children = format!("/proc/{0}/task", hub.process().id());
    let threads = std::fs::read_dir(children).unwrap().filter_map(Result::ok);
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let all: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect();
    let runs = |id: &u32| {
        std::fs::read_link(format!("/proc/{id}/exe"))
            .is_ok_and(|exe| exe.ends_with(format!("bootstrap-{function}")))
    };
    all.into_iter().filter(runs).collect()
}

/// Sends a signal to all of them; returns how many there are.
pub fn signal(hub: &Hub, function: &str, signal: &str) -> usize {
    let processes = of(hub, function);
    assert!(!processes.is_empty(), "no {function} runs");
    for id in &processes {
        let _ = Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
    }
    processes.len()
}

/// The most descriptors that a process of each function had open during `work`, by sampling.
pub async fn most_descriptors(hub: &Hub, work: impl Future<Output = ()>) -> BTreeMap<&'static str, usize> {
    const POLL_INTERVAL: Duration = Duration::from_millis(20);
    let mut most = BTreeMap::new();
    let mut work = std::pin::pin!(work);
    loop {
        for function in FUNCTIONS {
            for id in of(hub, function) {
                let open = std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
                let known = most.entry(function).or_insert(0);
                *known = open.max(*known);
            }
        }
        if tokio::time::timeout(POLL_INTERVAL, &mut work).await.is_ok() {
            return most;
        }
    }
}
