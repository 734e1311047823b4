//! The replica of the operator that is measured.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::RELEASE,
    command::kubectl,
    local::process,
    operator::leader,
    wait::{not_yet, until},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::sleep;

use crate::{
    bare::trusting,
    load::{Target, Write},
    process::cpu_micros,
};

/// The replica that has the lease, so that what only it does is measured too.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) pid: u32,
    tls: Arc<ClientConfig>,
}

impl Operator {
    pub(crate) async fn find() -> Result<Self> {
        Self::on_one_core().await?;
        let of = async |pod: &str, path: &str| {
            let args = ["get", "pod", pod, "-n", RELEASE, "-o", path];
            kubectl(&args).await?.success()
        };
        let pod = until(A_WHILE, "a replica leads", async || {
            let pod = leader().await?;
            // one that ends gives it back
            let ends = of(&pod, "jsonpath={.metadata.deletionTimestamp}").await?;
            if ends.is_empty() {
                Ok(pod)
            } else {
                Err(not_yet(ends))
            }
        });
        let pod = pod.await?;
        let uid = of(&pod, "jsonpath={.metadata.uid}").await?;
        let address = of(&pod, "jsonpath={.status.podIP}").await?;
        let trust = OperatorApi::of_replica(&address).await?;
        let begins = |command: &[u8]| command.starts_with(b"/hallpass-operator\0");
        Ok(Self {
            pid: process(&uid, begins)?
                .context("the operator's process is not on this machine")?
                .0,
            tls: trusting(trust.ca())?,
        })
    }

    /// Has each replica begin anew as on a node that has one core for it, which is where it is put while it
    /// is measured: on that, threads for more of them would be in each other's way.
    async fn on_one_core() -> Result<()> {
        let set = ["set", "env", "deployment/hallpass", "-n", RELEASE, ONE_CORE];
        kubectl(&set).await?.success()?;
        let within = "--timeout=120s";
        let done = [
            "rollout",
            "status",
            "deployment/hallpass",
            "-n",
            RELEASE,
            within,
        ];
        kubectl(&done).await?.success()?;
        Ok(())
    }

    /// Waits until it has nothing left to do.
    ///
    /// # Errors
    /// It is busy for minutes.
    pub(crate) async fn rest(&self) -> Result<()> {
        let within = Duration::from_secs(900);
        until(within, "the operator has nothing to do", || async {
            // Between two rounds of statuses there is a pause.
            for _ in 0..5 {
                let before = cpu_micros(self.pid)?;
                sleep(GLANCE).await;
                let spent = Duration::from_micros((cpu_micros(self.pid)? - before) as u64);
                if spent * 20 > GLANCE {
                    return Err(not_yet(spent));
                }
            }
            Ok(())
        })
        .await
    }

    /// It as a target of such requests.
    pub(crate) fn target(
        &self,
        write: Box<Write>,
        good: fn(u16, &[u8]) -> bool,
    ) -> Result<Arc<Target>> {
        Ok(Arc::new(Target {
            pid: self.pid,
            aside: Some(self.pid),
            port: 8443,
            name: ServerName::try_from(format!("hallpass.{RELEASE}.svc"))?,
            tls: Arc::clone(&self.tls),
            write,
            good: Box::new(good),
            made: AtomicUsize::new(0),
        }))
    }
}

/// What tells the runtime of a server that there is one core.
pub(crate) const ONE_CORE: &str = "TOKIO_WORKER_THREADS=1";

/// How long a new leader may take.
const A_WHILE: Duration = Duration::from_secs(60);

/// For how long it is looked whether the operator has something to do.
const GLANCE: Duration = Duration::from_secs(1);
