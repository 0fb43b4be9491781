//! A daemon of its own for each test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the daemon may take to start. In a debug build beside other tests it takes some tenths of a second.
const START: Duration = Duration::from_secs(20);

/// The daemon's command line, without the variables that would configure it.
pub(crate) fn kms() -> Command {
    without_variables(env!("CARGO_BIN_EXE_kms"))
}

fn without_variables(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KMS_") {
            command.env_remove(name);
        }
    }
    command
}

/// A configuration file that is removed with this value.
pub(crate) struct ConfigFile(pub(crate) PathBuf);

impl ConfigFile {
    pub(crate) fn new(toml: &str) -> ConfigFile {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kms-test-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, toml).unwrap();
        ConfigFile(path)
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Address of the websocket.
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    _config: ConfigFile,
}

impl Daemon {
    /// Status and body of what a GET is answered with. The header is of whole lines, or empty.
    pub(crate) async fn get(&self, path: &str, header: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        read.expect("an answer").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        // Pages of more than a piece come in pieces.
        assert!(!head.contains("chunked"), "{head}");
        (status, body.to_owned())
    }

    /// With the default configuration.
    pub(crate) fn start() -> Daemon {
        Daemon::with_config("")
    }

    /// With a configuration file of this text.
    pub(crate) fn with_config(toml: &str) -> Daemon {
        Daemon::spawn(kms(), toml)
    }

    /// With a variable in its environment.
    #[allow(dead_code, reason = "not every test that shares this file needs it")]
    pub(crate) fn with_variables(variables: &[(&str, &str)], toml: &str) -> Daemon {
        let mut command = kms();
        command.envs(variables.iter().copied());
        Daemon::spawn(command, toml)
    }

    /// Where the system gives at most this many file descriptors, and all of them may be taken.
    pub(crate) fn with_descriptors(most: usize) -> Daemon {
        let mut command = without_variables("sh");
        command.args([
            "-c",
            &format!("ulimit -n {most}; exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_kms"),
        ]);
        Daemon::spawn(command, "[limits]\nmin_free_files = 0\n")
    }

    fn spawn(mut command: Command, toml: &str) -> Daemon {
        let config = ConfigFile::new(toml);
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(&config.0)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let listening = read_log(&mut child, log.clone());
        let address = listening.recv_timeout(START).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the daemon does not listen; its log:\n{}", log.lock().unwrap());
        });
        Daemon {
            child,
            address,
            log,
            _config: config,
        }
    }

    /// What the daemon has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log holds a text; it arrives through a pipe and a thread.
    pub(crate) async fn logged(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "the log does not say: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGHUP.
    #[allow(dead_code, reason = "not every test that shares this file needs it")]
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(kill.unwrap().success(), "SIG{name} can't be sent");
    }

    /// Waits for the daemon to end by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the daemon did not end within {within:?}; its log:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Resident memory that it has asked for, KiB (proc(5), status). Pages of the program and its libraries, which come with their
    /// first use, are none of it.
    pub(crate) fn rss(&self) -> u64 {
        self.status("RssAnon:")
    }

    /// The most memory that was ever resident, KiB.
    pub(crate) fn peak_rss(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Threads.
    pub(crate) fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// Names of threads, of at most 15 characters each.
    #[allow(dead_code, reason = "not every test that shares this file needs it")]
    pub(crate) fn thread_names(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let names = threads.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// Collects the log on a thread, for a full pipe would stop the daemon, and tells the address it says it listens on.
fn read_log(child: &mut Child, log: Arc<Mutex<String>>) -> Receiver<SocketAddr> {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (found, listening) = sync_channel(1);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
            if let Some((_, url)) = line
                .split_once("listening on ws://")
                .or_else(|| line.split_once("listening on wss://"))
                && let Ok(address) = url.split('/').next().unwrap_or_default().parse()
            {
                let _ = found.try_send(address);
            }
        }
    });
    listening
}
