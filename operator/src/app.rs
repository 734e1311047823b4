//! Wiring: makes every part, starts the tasks, and ends them in order.
//!
//! A task that ends on its own, or panics, ends the process with an error: a replica that only looks
//! alive is worse than one that starts anew.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use hallpass_core::process;
use kube::Client;
use rustls::crypto::aws_lc_rs;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{error, info};

use self::{
    part::{Listeners, Parts, Phase},
    task::{TaskError, Tasks},
};
use crate::{
    config::Config,
    telemetry::{Metrics, log::Chain},
};

mod agree;
mod audience;
mod client;
mod engine;
mod part;
pub mod task;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The memory is not kept to this process.
    #[error("keep keys out of core dumps")]
    Conceal(#[source] io::Error),
    /// Somebody else chose the provider of cryptography.
    #[error("choose the provider of cryptography")]
    ChooseProvider,
    /// No signal handler.
    #[error("listen for signals")]
    ListenForSignals(#[source] io::Error),
    /// No socket.
    #[error("listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It does not run in a pod, and there is no kubeconfig.
    #[error("find the API server")]
    FindApiServer(#[source] Box<kube::config::InferConfigError>),
    /// No client for the API server.
    #[error("make the client for the API server")]
    MakeClient(#[source] Box<kube::Error>),
    /// No TLS.
    #[error("set up TLS")]
    SetUpTls(#[source] rustls::Error),
    /// A part gave up.
    #[error("a part of the operator is gone")]
    Task(#[from] TaskError),
    /// The end took too long.
    #[error("shutting down took longer than {0:?}")]
    Stuck(Duration),
}

/// Runs until SIGTERM or SIGINT, and counts in `metrics`.
///
/// # Errors
/// What could not be started, or which part ended on its own.
pub async fn run(config: Config, metrics: Metrics) -> Result<(), AppError> {
    process::conceal().map_err(AppError::Conceal)?;
    let mut signals = Signals::new()?;
    aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_taken| AppError::ChooseProvider)?;
    let listeners = Listeners {
        inside: listen(config.api_addr).await?,
        outside: listen(config.issuer_addr).await?,
    };
    let health = listen(config.metrics_addr).await?;
    let parts = Parts::new(&config, connect().await?, metrics);
    let readiness = parts.readiness(audience_fault(&config).await);
    let (phase, phases) = watch::channel(Phase::Serving);
    // The first are to run for ever, the second until they are told to end.
    let (mut steady, mut closing) = (Tasks::default(), Tasks::default());
    parts.observe(health, readiness.clone(), &mut steady);
    parts
        .start(listeners, phases, &mut steady, &mut closing)
        .map_err(AppError::SetUpTls)?;
    info!(version = env!("CARGO_PKG_VERSION"), "operator started");
    let leave = async {
        signals.terminated().await;
        info!("operator shuts down");
        readiness.drain();
    };
    watch_over((steady, closing), leave, phase).await?;
    info!("operator ended");
    Ok(())
}

/// Goes on until it is to `leave`, and then through the phases. What ends on its own before ends all at once.
async fn watch_over(
    (mut steady, mut closing): (Tasks, Tasks),
    leave: impl Future<Output = ()>,
    phase: watch::Sender<Phase>,
) -> Result<(), AppError> {
    tokio::select! {
        ended = steady.first_end() => return Err(ended.into()),
        ended = closing.first_end() => return Err(ended.into()),
        () = leave => {}
    }
    phase.send_replace(Phase::Leaving);
    tokio::select! {
        ended = steady.first_end() => return Err(ended.into()),
        () = sleep(LINGER) => {}
    }
    phase.send_replace(Phase::Closing);
    timeout(CLOSE, closing.all_end())
        .await
        .map_err(|_elapsed| AppError::Stuck(CLOSE))??;
    Ok(())
}

/// The port, also on a node without IPv6 where all addresses are meant.
async fn listen(address: SocketAddr) -> Result<TcpListener, AppError> {
    let bound = match TcpListener::bind(address).await {
        Err(error)
            if address.is_ipv6() && address.ip().is_unspecified() && lacks_family(&error) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| AppError::Listen { address, source })
}

fn lacks_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT where the kernel has no IPv6, EADDRNOTAVAIL where it is switched off.
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

async fn connect() -> Result<Client, AppError> {
    let config = kube::Config::infer()
        .await
        .map_err(|e| AppError::FindApiServer(Box::new(e)))?;
    client::client(config).map_err(|e| AppError::MakeClient(Box::new(e)))
}

/// What is wrong with the list of the API server's audiences. It is a part of the pod's template, so
/// what is wrong now stays wrong until another pod takes over.
async fn audience_fault(config: &Config) -> Result<(), String> {
    let checked = audience::check_file(Path::new(OWN_TOKEN), &config.api_server_audiences).await;
    checked.map_err(|error| {
        let text = Chain(&error).to_string();
        error!(error = text, "the API server's audiences are not all known");
        text
    })
}

/// What asks this process to end: the kubelet by SIGTERM, a person by SIGINT. As the first process of
/// its container it has no default handler for either.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, AppError> {
        let listen = |kind| signal(kind).map_err(AppError::ListenForSignals);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn terminated(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Until every node has heard that this replica takes no more requests.
const LINGER: Duration = Duration::from_secs(3);
/// For open requests (20 s) and the Lease. Together with [`LINGER`] less than the pod's 30 s.
const CLOSE: Duration = Duration::from_secs(23);
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests;
