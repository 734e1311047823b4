//! What one more thing costs the creation of a pod: the same pod with and without it, taking turns.

use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use hallpass_e2e::manifest::Manifest;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::stats::Sample;

/// Milliseconds of each creation.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    without: Vec<f64>,
    with: Vec<f64>,
}

impl Pairs {
    /// Creates so many of both, one after the other, each of them first every other time: what the machine
    /// does beside it meets both alike.
    pub(crate) async fn create(
        &mut self,
        pods: &Api<Pod>,
        (without, with): (&Manifest, &Manifest),
        (pairs, params): (usize, &PostParams),
    ) -> Result<()> {
        for number in 0..pairs {
            for turn in 0..2 {
                let (manifest, millis) = if (number + turn) % 2 == 0 {
                    (without, &mut self.without)
                } else {
                    (with, &mut self.with)
                };
                millis.push(create(pods, manifest, (number, params)).await?.0);
            }
        }
        Ok(())
    }

    /// The same by so many at once, each of whom creates its part of them one after the other.
    pub(crate) async fn at_once(
        &mut self,
        pods: &Api<Pod>,
        pair: (&Manifest, &Manifest),
        (pairs, params): (usize, &PostParams),
        creators: usize,
    ) -> Result<()> {
        let part = (pairs / creators, params);
        let each = (0..creators).map(|_| async {
            let mut made = Self::default();
            made.create(pods, pair, part).await?;
            Ok::<_, anyhow::Error>(made)
        });
        for made in try_join_all(each).await? {
            self.without.extend(made.without);
            self.with.extend(made.with);
        }
        Ok(())
    }

    /// The medians without it and with it.
    pub(crate) fn medians(self) -> (f64, f64) {
        let (without, with) = self.samples();
        (without.median(), with.median())
    }

    /// All of them without it and with it.
    pub(crate) fn samples(self) -> (Sample, Sample) {
        (Sample::new(self.without), Sample::new(self.with))
    }
}

/// How many milliseconds it took, and what was made.
pub(crate) async fn create(
    pods: &Api<Pod>,
    manifest: &Manifest,
    (number, params): (usize, &PostParams),
) -> Result<(f64, Pod)> {
    let name = manifest.json()["metadata"]["name"]
        .as_str()
        .context("a name")?;
    let name = json!(format!("{name}-{number}"));
    let named = manifest.clone().with("/metadata/name", name);
    let pod: Pod = serde_json::from_value(named.json().clone())?;
    let start = Instant::now();
    let made = pods.create(params, &pod).await?;
    Ok((start.elapsed().as_secs_f64() * 1e3, made))
}
