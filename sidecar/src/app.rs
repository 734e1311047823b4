//! The wiring: from a configuration to sockets that are served, until it is told to stop.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hallpass_core::name::ContainerName;
use tokio::{net::UnixListener, sync::watch, task::JoinSet};
use tracing::{info, warn};

use crate::{
    config::Config,
    hold::{
        Hold,
        cache::Cache,
        refresh::{Refresher, expire},
    },
    identity::Identity,
    serve::{self, files::Files, http::Socket},
    surroundings::Surroundings,
    survive::supervised,
    telemetry::Counters,
    trust::Trust,
    upstream::Upstream,
};

/// Why nothing can be served. After the start nothing ends the program but [`serve()`]'s `stop`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory of the containers' directories cannot be read.
    #[error("cannot list the containers' directories in {}", path.display())]
    ListContainers {
        /// That directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It has none.
    #[error("there is no container's directory in {}", path.display())]
    NoContainers {
        /// That directory.
        path: PathBuf,
    },
    /// A container's socket cannot be made.
    #[error("cannot make the socket of container {container}")]
    MakeSocket {
        /// The container.
        container: ContainerName,
        /// The step that failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A container's token files cannot be made.
    #[error("cannot make the token files of container {container}")]
    MakeFiles {
        /// The container.
        container: ContainerName,
        /// The step that failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Serves the tokens of this pod until `stop` resolves; then finishes the open requests, for a second
/// at most, and leaves every file where it is: the containers may still read them.
///
/// # Errors
/// Sockets or directories cannot be made, at the start.
pub async fn serve(
    config: Config,
    surroundings: Surroundings,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let Surroundings { clock, jitter } = surroundings;
    let counters = Arc::new(Counters::default());
    let (places, listeners) = open(&config.containers)?;
    let hold = Hold::new(places, clock.now(), jitter, Arc::clone(&counters));
    let hold = Arc::new(hold);
    let identity = Identity::new(config.identity.clone(), config.trust.clone());
    let trust = Arc::new(Trust::new(identity.clone(), config.ca.clone()));
    let cache = Cache::open(
        &config.cache,
        &identity,
        Arc::clone(&trust),
        Arc::clone(&counters),
    );
    cache.restore(&hold, &clock);
    let cache = Arc::new(cache);
    let (stopping, stopped) = watch::channel(false);
    let mut sockets = JoinSet::new();
    for (container, listener) in listeners {
        info!(container = container.as_str(), "listening");
        let (hold, clock) = (Arc::clone(&hold), clock.clone());
        let (counters, stopped) = (Arc::clone(&counters), stopped.clone());
        let socket = Socket::new(
            container,
            hold,
            clock,
            Arc::clone(&counters),
            stopped.clone(),
        );
        sockets.spawn(listen(listener, socket, counters, stopped));
    }
    let refresh = supervised("refresh", &counters, || {
        let upstream = Upstream::new(
            &config,
            identity.clone(),
            Arc::clone(&trust),
            clock.clone(),
            Arc::clone(&counters),
        );
        let (hold, cache) = (Arc::clone(&hold), Arc::clone(&cache));
        Refresher::new(hold, upstream, clock.clone(), cache).run()
    });
    let expiry = supervised("expiry", &counters, || {
        expire(Arc::clone(&hold), clock.clone())
    });
    tokio::select! {
        () = stop => {}
        never = refresh => match never {},
        never = expiry => match never {},
    }
    info!("stopping");
    stopping.send_replace(true);
    while sockets.join_next().await.is_some() {}
    Ok(())
}

async fn listen(
    listener: UnixListener,
    socket: Socket,
    counters: Arc<Counters>,
    stopped: watch::Receiver<bool>,
) {
    let listener = Arc::new(listener);
    let answer = move |request| {
        let socket = socket.clone();
        async move { socket.answer(request).await }
    };
    supervised("accept", &counters, || {
        let (listener, counters) = (Arc::clone(&listener), Arc::clone(&counters));
        serve::accept(listener, answer.clone(), counters, stopped.clone())
    })
    .await;
}

type Opened = (
    Vec<(ContainerName, Files)>,
    Vec<(ContainerName, UnixListener)>,
);

/// The files and the socket of each container.
fn open(directory: &Path) -> Result<Opened, StartError> {
    let mut files = Vec::new();
    let mut listeners = Vec::new();
    for container in containers(directory)? {
        let own = directory.join(container.as_str());
        match Files::open(&own) {
            Ok(opened) => files.push((container.clone(), opened)),
            Err(error) => {
                let source = error.into();
                return Err(StartError::MakeFiles { container, source });
            }
        }
        match serve::bind(&own) {
            Ok(listener) => listeners.push((container, listener)),
            Err(error) => {
                let source = error.into();
                return Err(StartError::MakeSocket { container, source });
            }
        }
    }
    Ok((files, listeners))
}

/// The containers of this pod: each has a directory of its own.
pub(crate) fn containers(directory: &Path) -> Result<Vec<ContainerName>, StartError> {
    let list = |source| StartError::ListContainers {
        path: directory.to_owned(),
        source,
    };
    let mut containers = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(list)? {
        let entry = entry.map_err(list)?;
        let name = entry.file_name();
        // Not what a link leads to.
        let is_directory = entry.file_type().map_err(list)?.is_dir();
        match name.to_str().map(ContainerName::parse) {
            Some(Ok(container)) if is_directory => containers.push(container),
            Some(_) | None => warn!(name = ?name, "not a container's directory"),
        }
    }
    containers.sort();
    if containers.is_empty() {
        return Err(StartError::NoContainers {
            path: directory.to_owned(),
        });
    }
    Ok(containers)
}
