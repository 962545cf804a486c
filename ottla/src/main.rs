//! The `ottla` program. Stops cleanly on SIGTERM and Ctrl-C.
//!
//! - [`options`]: the command line
//! - [`laptop`]: without a subcommand: Kubernetes API, coordination and brokers in one process
//! - [`keys`]: its keys and certificates
//! - [`broker`]: one broker on Kubernetes
//! - [`operator`]: the operator on Kubernetes
//! - [`check`]: a client that tests whether a cluster works
//! - [`objects`]: brokers' copies of objects that were lost
//! - [`limits`]: the limits of the process: open files, memory
//! - [`everywhere`]: "every address", of IPv4 and IPv6

mod broker;
mod check;
mod everywhere;
mod keys;
mod laptop;
mod limits;
mod objects;
mod operator;
mod options;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use ottla_broker::loggers;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::laptop::Laptop;
use crate::options::{CommandLine, LaptopOptions, Part};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads of the control plane: API, coordination, metrics. Connections have their own.
const CONTROL_THREADS: usize = 2;

fn main() -> ExitCode {
    ottla_broker::env::end_on_panic();
    let options = CommandLine::parse();
    // On a laptop a person watches the output; a pod's log is read later. kube_client repeats our lines.
    let verbosity = if options.part.is_some() { "info,kube_client=off" } else { "warn" };
    log(verbosity);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build();
    let ran = match runtime {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => Err(error.into()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line that says what to do, not a chain of causes.
            eprintln!("ottla: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts logging with the levels of RUST_LOG, or else of `verbosity`; BROKER_LOGGER configs can change them.
fn log(verbosity: &str) {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| EnvFilter::try_new(text).is_ok());
    let directives = from_environment.unwrap_or_else(|| verbosity.to_owned());
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours);
    let log = log.with_env_filter(EnvFilter::new(&directives)).with_filter_reloading();
    let handle = log.reload_handle();
    log.init();
    let apply = move |directives: &str| {
        let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    };
    loggers::install(&directives, Box::new(apply));
}

/// Prints a line. A reader that closes the pipe early, such as `head`, does not end the program.
fn print_line(line: String) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::debug!(%error, "failed to print a line");
    }
}

async fn run(options: CommandLine) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    limits::raise_descriptor_limit();
    match options.part {
        None => run_laptop(&options.laptop, stopped).await,
        Some(Part::Broker(options)) => broker::run(options, stopped).await,
        Some(Part::Operator(options)) => operator::run(options, stopped).await,
        Some(Part::Check(options)) => check::run(options, stopped).await,
        Some(Part::Objects(options)) => objects::run(&options).await,
    }
}

async fn run_laptop(options: &LaptopOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::pin!(stopped);
    let laptop = tokio::select! {
        started = Laptop::start(options) => started?,
        () = &mut stopped => return Ok(()),
    };
    print_line(laptop.to_string());
    tokio::select! {
        () = stopped => {}
        failed = laptop.disk_failed() => return Err(failed.into()),
    }
    Ok(laptop.stop().await?)
}
