//! The server under test: a process that was started for it, or one that runs already.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Context, Error, Result};
use crate::procfs::{self, Usage};

/// How long a server may take to answer after it was started, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server. If it was started here, dropping it kills it.
pub(crate) struct Server {
    pid: u32,
    url: String,
    child: Option<Child>,
}

impl Server {
    /// One that runs already.
    pub(crate) fn running(url: &str, pid: u32) -> Server {
        Server {
            pid,
            url: url.to_owned(),
            child: None,
        }
    }

    /// Starts kms on a free port of the loopback interface.
    pub(crate) async fn start_kms(program: &str) -> Result<Server> {
        Server::start_kms_with(program, &[]).await
    }

    /// The same, with variables in its environment.
    pub(crate) async fn start_kms_with(program: &str, variables: &[(&str, &str)]) -> Result<Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new(program);
        command.args(["--listen", &address.to_string()]);
        command.env("KMS_LOG_LEVEL", "warn");
        command.envs(variables.iter().copied());
        Server::start(&mut command, address, format!("ws://{address}/kurento")).await
    }

    /// Starts a server that will listen at an address.
    pub(crate) async fn start(command: &mut Command, address: SocketAddr, url: String) -> Result<Server> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.context(&format!("starting {program}"))?;
        let mut server = Server {
            pid: child.id(),
            url,
            child: Some(child),
        };
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if let Some(Ok(Some(status))) = server.child.as_mut().map(Child::try_wait) {
                return Err(Error::Server(format!("{program} ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(Error::Late(
                    format!("{program} did not listen"),
                    PATIENCE.as_secs(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Ends it in an orderly way, if it was started here.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // An error means that it is gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = child.try_wait() {
            if Instant::now() > deadline {
                return Err(Error::Late("the server did not end".into(), PATIENCE.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.child = None;
        Ok(())
    }

    /// Its websocket.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        procfs::usage(self.pid).context("reading the server's process")
    }
}

impl Drop for Server {
    /// A measurement failed: nothing is to be learned from how the server ends.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A TCP port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}

/// The address of this machine that leads outside: servers offer no loopback address. Without one, loopback.
pub(crate) fn host_address() -> IpAddr {
    // Connecting a UDP socket sends nothing, it only asks for the route; the address is one for documents (RFC 5737).
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9))?;
        socket.local_addr()
    });
    routed.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}
