//! B12: injection as a function, which is what the webhook does between a request and its answer.

use std::{hint::black_box, time::Instant};

use anyhow::{Context as _, Result, ensure};
use hallpass_operator::inject::{Asked, Injection, Pod, Settings, inject};
use serde_json::json;

use crate::{
    admission::of_size,
    report::{Bar, Report},
    stats::Sample,
};

const TIMES: usize = 500;
const CONDITIONS: &str = "reading the pod, deciding, and writing the patch, one thread, median of 500; the pod is large by its environment";

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let settings = json!({
        "image": "registry.example/hallpass-sidecar:0.1.0", "pullPolicy": "IfNotPresent", "imagePullSecrets": [],
        "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "16Mi"}},
        "guaranteedResources": {"cpu": "50m", "memory": "16Mi"}, "runAsUser": 65532,
        "after": ["istio-proxy", "linkerd-proxy"], "operator": "hallpass.hallpass-system.svc:443",
        "replicas": "hallpass-replicas.hallpass-system.svc:8443",
        "identityAudience": "hallpass.dev/hallpass-system", "uninjectedNamespaces": ["kube-system"],
    });
    let settings = Settings::parse(&settings.to_string())?;
    for (bytes, size, most) in [
        (2 << 10, "2 KB", None),
        (64 << 10, "64 KB", Some(1.0)),
        (1 << 20, "1 MB", None),
    ] {
        let pod = of_size("labelled", bytes).injected().to_string();
        let mut millis = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let start = Instant::now();
            black_box(injected(&pod, &settings)?);
            millis.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let metric = format!("inject, {size}");
        report.add(
            "B12",
            &metric,
            (Sample::new(millis).median(), "ms"),
            CONDITIONS,
        );
        if let Some(most) = most {
            report.bar(Bar::Value(most));
        }
    }
    Ok(())
}

/// The patch as it goes to the API server.
fn injected(pod: &str, settings: &Settings) -> Result<String> {
    let pod: Pod = serde_json::from_str(pod).context("read the pod")?;
    let Injection::Inject(patch) = inject(&pod, "bench", Asked::ByPod, settings, Some(AUTHORITY))
    else {
        anyhow::bail!("it was not injected");
    };
    let patch = serde_json::to_string(&patch)?;
    ensure!(
        patch.contains("/spec/initContainers/"),
        "no sidecar in {patch}"
    );
    Ok(patch)
}

/// About as long as one is.
const AUTHORITY: &str = concat!(
    "-----BEGIN CERTIFICATE-----\n",
    "MIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIB\n",
    "MIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIB\n",
    "MIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIB\n",
    "MIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIBdzCCAR2gAwIBAgIUMIIB\n",
    "-----END CERTIFICATE-----\n",
);
