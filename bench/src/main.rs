//! `kms-bench`: what a media server costs, measured with real WebRTC peers.
//!
//! One thread plays all the peers (str0m): each has its own socket, ICE, DTLS and SRTP, and sends what a browser would. The
//! graph in the server is built by the Kurento Protocol. CPU time and memory are read from the server's own process.

mod args;
mod error;
mod histogram;
mod janus;
mod kms;
mod load;
mod measure;
mod media;
mod peer;
mod procfs;
mod server;
mod table;
mod tally;

use std::process::ExitCode;
use std::time::Duration;

use args::{Args, Scenario};
use error::{Context, Result};
use janus::JanusServer;
use kms_client::Client;
use load::Load;
use measure::{HEADER, Measured, measure};
use server::Server;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(&error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &error::Error) -> ExitCode {
    eprintln!("kms-bench: {error}");
    ExitCode::FAILURE
}

fn run(args: &Args) -> Result<()> {
    // One thread: the load generator has its own, and the server needs the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("starting the async runtime")?
        .block_on(scenarios(args))
}

async fn scenarios(args: &Args) -> Result<()> {
    let mut measured = Vec::new();
    if matches!(args.scenario, Scenario::Loopback | Scenario::All) {
        measured.push(kms_loopback(args).await?);
        if args.janus {
            measured.push(janus_loopback(args).await?);
        }
    }
    if matches!(args.scenario, Scenario::OneToMany | Scenario::All) {
        measured.push(kms_one_to_many(args).await?);
        if args.janus {
            measured.push(janus_one_to_many(args).await?);
        }
    }
    let rows: Vec<_> = measured.iter().map(Measured::row).collect();
    print!("{}", table::table(HEADER, &rows));
    Ok(())
}

async fn kms_server(args: &Args) -> Result<Server> {
    match &args.running {
        Some((url, pid)) => Ok(Server::running(url, *pid)),
        None => Server::start_kms(&args.kms).await,
    }
}

async fn kms_loopback(args: &Args) -> Result<Measured> {
    let server = kms_server(args).await?;
    let (client, load) = (
        Client::connect(server.url()).await?,
        Load::start(server::host_address())?,
    );
    kms::loopback(&client, &load, args.peers).await?;
    let measured = measure(
        ("kms", "loopback"),
        &server,
        &load,
        (args.peers, 1),
        Duration::from_secs(args.seconds),
    )
    .await?;
    // What it answers changes nothing: a server that was started for this ends anyway.
    let _ = client.close_session().await;
    Ok(measured)
}

async fn kms_one_to_many(args: &Args) -> Result<Measured> {
    let server = kms_server(args).await?;
    let (client, load) = (
        Client::connect(server.url()).await?,
        Load::start(server::host_address())?,
    );
    kms::one_to_many(&client, &load, args.viewers).await?;
    let measured = measure(
        ("kms", "one-to-many"),
        &server,
        &load,
        (args.viewers, args.viewers as u64),
        Duration::from_secs(args.seconds),
    )
    .await?;
    // What it answers changes nothing: a server that was started for this ends anyway.
    let _ = client.close_session().await;
    Ok(measured)
}

async fn janus_loopback(args: &Args) -> Result<Measured> {
    let server = JanusServer::start().await?;
    let mut janus = janus::connect(&server).await?;
    let load = Load::start(server::host_address())?;
    janus::loopback(&mut janus, &load, args.peers).await?;
    measure(
        ("janus", "loopback"),
        server.server(),
        &load,
        (args.peers, 1),
        Duration::from_secs(args.seconds),
    )
    .await
}

async fn janus_one_to_many(args: &Args) -> Result<Measured> {
    let server = JanusServer::start().await?;
    let mut janus = janus::connect(&server).await?;
    let load = Load::start(server::host_address())?;
    janus::one_to_many(&mut janus, &load, args.viewers).await?;
    measure(
        ("janus", "one-to-many"),
        server.server(),
        &load,
        (args.viewers, args.viewers as u64),
        Duration::from_secs(args.seconds),
    )
    .await
}
