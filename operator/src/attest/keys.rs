//! The keys and the issuer of the cluster, as its API server publishes them.
//!
//! One task reads them, every minute and when somebody asks. So however many tokens with unknown keys
//! arrive at once, they wait for one reading.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use hallpass_core::token::keys::{KeySet, KeySetFault};
use http::{Request, header::ACCEPT};
use kube::Client;
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, error::Elapsed, sleep_until, timeout},
};
use tracing::{info, warn};

use super::known::Known;
use crate::telemetry::{Metrics, log::Chain};

/// What tokens of this cluster are checked against: keys, and the issuer that they count for.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) issuer: String,
    pub(super) keys: KeySet,
    /// The tokens that were found to be of these keys and this issuer. They are forgotten with them.
    pub(super) known: Known,
    /// What the keys were read from.
    document: String,
}

impl Trust {
    fn says_the_same(&self, other: &Self) -> bool {
        (&self.issuer, &self.document) == (&other.issuer, &other.document)
    }
}

/// Why the keys could not be read. Those of before stay in force.
#[derive(Debug, thiserror::Error)]
enum ReadKeys {
    #[error("get {path} from the API server")]
    Get {
        path: &'static str,
        source: Box<kube::Error>,
    },
    #[error("get {path} from the API server within {PATIENCE:?}")]
    Wait { path: &'static str, source: Elapsed },
    #[error("build the request for {path}")]
    Build {
        path: &'static str,
        source: http::Error,
    },
    #[error("read {DISCOVERY}")]
    Discovery(#[source] serde_json::Error),
    #[error("read {KEYS}")]
    Keys(#[source] KeySetFault),
}

/// The trust of now, and the task that keeps it current.
pub(super) struct Keys {
    client: Client,
    metrics: Metrics,
    trust: ArcSwapOption<Trust>,
    wanted: Notify,
    readings: watch::Sender<Readings>,
}

/// How far the task is.
#[derive(Debug, Clone, Copy, Default)]
struct Readings {
    begun: Option<Instant>,
    done: u64,
    in_flight: bool,
}

impl Keys {
    pub(super) fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            trust: ArcSwapOption::empty(),
            wanted: Notify::new(),
            readings: watch::Sender::default(),
        }
    }

    /// The keys of the last reading that succeeded.
    pub(super) fn current(&self) -> Option<Arc<Trust>> {
        self.trust.load_full()
    }

    /// Waits for a reading that is done after this call, unless one began less than [`PAUSE`] ago and
    /// is done: there would be nothing new.
    pub(super) async fn renew(&self) {
        let mut readings = self.readings.subscribe();
        let seen = *readings.borrow_and_update();
        match seen.begun {
            // The first reading comes by itself.
            None => {}
            Some(_) if seen.in_flight => {}
            Some(begun) if begun.elapsed() < PAUSE => return,
            Some(_) => self.wanted.notify_one(),
        }
        let done = readings.wait_for(|now| now.done > seen.done);
        // Whether it came in time or not, the caller looks at what is there.
        drop(timeout(PATIENCE, done).await);
    }

    /// Reads the keys, for ever.
    pub(super) async fn run(&self) {
        let mut healthy = true;
        loop {
            let begun = Instant::now();
            self.readings.send_modify(|readings| {
                readings.begun = Some(begun);
                readings.in_flight = true;
            });
            let read = self.read().await;
            let pause = if read.is_ok() { EVERY } else { PAUSE };
            match read {
                Ok(trust) => {
                    if !healthy {
                        info!("the keys of the cluster are read again");
                    }
                    healthy = true;
                    self.replace(trust);
                }
                Err(error) => {
                    if healthy {
                        warn!(error = %Chain(&error), "the keys of the cluster cannot be read; those of before stay in force");
                    }
                    healthy = false;
                }
            }
            self.readings.send_modify(|readings| {
                readings.done += 1;
                readings.in_flight = false;
            });
            tokio::select! {
                () = sleep_until(begun + pause) => {}
                () = self.asked(begun) => {}
            }
        }
    }

    /// Somebody wants a reading, and the last one is long enough ago.
    async fn asked(&self, begun: Instant) {
        self.wanted.notified().await;
        sleep_until(begun + PAUSE).await;
    }

    fn replace(&self, trust: Trust) {
        let (usable, skipped) = (trust.keys.len(), trust.keys.skipped());
        self.metrics.keys(usable);
        let current = self.trust.load();
        if current.as_ref().is_some_and(|it| it.says_the_same(&trust)) {
            return;
        }
        let before = self.trust.swap(Some(Arc::new(trust)));
        let before = before.map(|trust| (trust.keys.len(), trust.keys.skipped()));
        if before != Some((usable, skipped)) {
            info!(
                keys.usable = usable,
                keys.skipped = skipped,
                "the keys of the cluster changed"
            );
        }
    }

    async fn read(&self) -> Result<Trust, ReadKeys> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
        }
        let (discovery, keys) = tokio::try_join!(self.get(DISCOVERY), self.get(KEYS))?;
        let discovery: Discovery = serde_json::from_str(&discovery).map_err(ReadKeys::Discovery)?;
        Ok(Trust {
            issuer: discovery.issuer,
            keys: KeySet::parse(keys.as_bytes()).map_err(ReadKeys::Keys)?,
            known: Known::default(),
            document: keys,
        })
    }

    async fn get(&self, path: &'static str) -> Result<String, ReadKeys> {
        let request = Request::get(path)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .body(Vec::new())
            .map_err(|source| ReadKeys::Build { path, source })?;
        timeout(PATIENCE, self.client.request_text(request))
            .await
            .map_err(|source| ReadKeys::Wait { path, source })?
            .map_err(|source| ReadKeys::Get {
                path,
                source: Box::new(source),
            })
    }
}

/// How often the keys are read: a key that the cluster gave up is accepted no longer than that.
const EVERY: Duration = Duration::from_secs(60);

/// The least time from the begin of one reading to the begin of the next.
const PAUSE: Duration = Duration::from_secs(5);

/// How long the API server has for one document.
const PATIENCE: Duration = Duration::from_secs(5);
const KEYS: &str = "/openid/v1/jwks";
const DISCOVERY: &str = "/.well-known/openid-configuration";
