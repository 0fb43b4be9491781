//! `kms-bench`: what a media server costs, measured with real WebRTC peers.
//!
//! One thread plays all the peers (str0m): each has its own socket, ICE, DTLS and SRTP, and sends what a browser would. The
//! graph in the server is built by the Kurento Protocol. CPU time and memory are read from the server's own process.

mod aims;
mod args;
mod control;
mod engine;
mod error;
mod filters;
mod histogram;
mod janus;
mod kms;
mod load;
mod measure;
mod media;
mod memory;
mod operations;
mod peer;
mod process;
mod procfs;
mod report;
mod server;
mod table;
mod tally;
mod timer;

use std::process::ExitCode;
use std::time::Duration;

use args::{Args, Scenario};
use error::{Context, Error, Result};
use kms_client::Client;
use load::Load;
use measure::{Measured, Plan, measure};
use report::Report;
use server::{Server, host_address};

/// Viewers of what is converted.
const TRANSCODE_VIEWERS: usize = 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kms-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(args) = Args::parse(std::env::args().skip(1))? else {
        print!("{}", args::HELP);
        return Ok(());
    };
    // One thread: the load generator has its own, and the server needs the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime
        .context("starting the async runtime")?
        .block_on(scenarios(&args))?;
    match args.json {
        true => println!("{:#}", report.to_json()),
        false => print!("{}", report.to_text()),
    }
    Ok(())
}

async fn scenarios(args: &Args) -> Result<Report> {
    let all = args.scenario == Scenario::All;
    let mut report = Report::default();
    let with_janus = args.janus || (all && janus::is_installed());
    for (scenario, plan) in [
        (Scenario::Loopback, Plan::loopback(args.peers, args.pacing)),
        (Scenario::OneToMany, Plan::one_to_many(args.viewers, args.pacing)),
    ] {
        if all || args.scenario == scenario {
            report.media.push(kms_media(args, plan).await?);
            if with_janus {
                report.media.push(janus_media(args, plan).await?);
            }
        }
    }
    if all || args.scenario == Scenario::Control {
        let server = kms_server(args).await?;
        report.control = Some(control::measure(&server).await?);
        server.stop().await?;
    }
    if all || args.scenario == Scenario::Memory {
        if args.running.is_some() {
            let why = "memory is measured on fresh servers: leave out --url and --pid";
            return Err(Error::Usage(why.into()));
        }
        let server = kms_server(args).await?;
        report.memory.push(memory::created(&server).await?);
        server.stop().await?;
        let server = kms_server(args).await?;
        report.memory.extend(memory::negotiated(&server).await?);
        server.stop().await?;
    }
    let window = Duration::from_secs(args.seconds);
    for scenario in [Scenario::Cameras, Scenario::Transcode, Scenario::Mix] {
        if !all && args.scenario != scenario {
            continue;
        }
        if args.running.is_some() {
            let why = "the media engine is measured on fresh servers: leave out --url and --pid";
            return Err(Error::Usage(why.into()));
        }
        report.engine.extend(match scenario {
            Scenario::Cameras => engine::cameras(&args.kms, args.cameras, window).await?,
            Scenario::Mix => engine::mix(&args.kms, window).await?,
            _ => engine::transcode(&args.kms, TRANSCODE_VIEWERS, window).await?,
        });
    }
    if all || args.scenario == Scenario::Filters {
        report.filters = filters::filters(&args.kms, window).await?;
    }
    if all || args.scenario == Scenario::Operations {
        report.operations = operations::measure(&args.kms).await?;
    }
    Ok(report)
}

async fn kms_server(args: &Args) -> Result<Server> {
    match &args.running {
        Some((url, pid)) => Ok(Server::running(url, *pid)),
        None => Server::start_kms(&args.kms).await,
    }
}

async fn kms_media(args: &Args, plan: Plan) -> Result<Measured> {
    let server = kms_server(args).await?;
    let client = Client::connect(server.url()).await?;
    let load = Load::start(host_address())?;
    match plan.one_to_many {
        false => kms::loopback(&client, &load, plan.peers).await?,
        true => kms::one_to_many(&client, &load, plan.peers).await?,
    }
    let measured = measure("kms", plan, &server, &load, Duration::from_secs(args.seconds)).await?;
    // What it answers changes nothing any more.
    let _ = client.close_session().await;
    server.stop().await?;
    Ok(measured)
}

async fn janus_media(args: &Args, plan: Plan) -> Result<Measured> {
    let server = janus::JanusServer::start().await?;
    let mut janus = janus::connect(&server).await?;
    let load = Load::start(host_address())?;
    match plan.one_to_many {
        false => janus::loopback(&mut janus, &load, plan.peers).await?,
        true => janus::one_to_many(&mut janus, &load, plan.peers).await?,
    }
    let window = Duration::from_secs(args.seconds);
    let measured = measure("janus", plan, server.server(), &load, window).await?;
    server.stop().await?;
    Ok(measured)
}
