//! One run of the program.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::sync::mpsc;

use crate::{binary, wait};

/// A temporary directory, removed when dropped.
pub struct TempDirectory(PathBuf);

impl TempDirectory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("oahub-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for TempDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program, running.
pub struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// A shell that kills the program and removes its files when the test process ends, however it ends.
    watchdog: Child,
}

impl Process {
    /// Starts `oahub` with these settings alone; its log is added to `log`, in the test's directory.
    #[must_use]
    pub fn spawn(arguments: &[&str], settings: &[(&str, &str)], log: &Path) -> Self {
        Self::spawn_program(binary::oahub(), arguments, settings, log)
    }

    /// The same with another program.
    #[must_use]
    pub fn spawn_program(program: &Path, arguments: &[&str], settings: &[(&str, &str)], log: &Path) -> Self {
        let directory = log.parent().unwrap();
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let guard = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$0\"; rm -rf \"$1\"", &child.id().to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line); // the receiver may be gone
            }
        });
        Self { child, lines, watchdog: guard }
    }

    /// The next line on standard output; [`None`] once the program has ended.
    pub async fn next_line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(wait::TIMEOUT, self.lines.recv()).await;
        line.unwrap_or_else(|_| panic!("the program says nothing and does not end"))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.end();
    }

    /// Sends SIGTERM and waits for the exit.
    pub async fn terminate(self) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "SIGTERM could not be sent");
        self.wait_for_exit().await
    }

    /// Waits for the exit.
    pub async fn wait_for_exit(mut self) -> ExitStatus {
        wait::until("the program's end", async || self.child.try_wait().unwrap()).await
    }

    fn end(&mut self) {
        for child in [&mut self.watchdog, &mut self.child] {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }

    /// Memory in use, bytes; [`None`] where there is no `/proc`.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        proc_status_bytes(self.id(), "VmRSS:")
    }

    /// Peak memory, bytes; [`None`] where there is no `/proc`.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        peak_memory(self.id())
    }

    /// Processor time of all its threads so far, seconds; [`None`] where there is no `/proc`.
    #[must_use]
    pub fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?; // the name before it may contain spaces
        let ticks: u64 = rest.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Some(ticks as f64 / 100.0) // USER_HZ of Linux
    }
}

/// Peak memory of a process, bytes; [`None`] where there is no `/proc`.
#[must_use]
pub fn peak_memory(id: u32) -> Option<u64> {
    proc_status_bytes(id, "VmHWM:")
}

fn proc_status_bytes(id: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
