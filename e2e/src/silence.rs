//! Packets that are dropped without a word, both ways: no connection is refused or ended, it just goes
//! silent. Only a cluster of our own has a network that may be disturbed.

use anyhow::{Context as _, Result};

use crate::{command::run, remark::remark};

/// Packets that do not arrive, for as long as this lives.
#[derive(Debug)]
pub struct Silence(Vec<Rule>);

/// The arguments of a rule for iptables, from the chain on.
type Rule = Vec<String>;

impl Silence {
    /// Between a pod and the API server.
    ///
    /// # Errors
    /// iptables refused.
    pub async fn towards_api_server(pod: &str) -> Result<Self> {
        // the Service's address has become the node's by then
        let to = ["INPUT", "-s", pod, "-p", "tcp", "--dport", API_PORT];
        let from = ["OUTPUT", "-d", pod, "-p", "tcp", "--sport", API_PORT];
        Self::of(&[&to, &from]).await
    }

    /// Between a pod and all other pods. The node goes on to reach it, and so its probes.
    ///
    /// # Errors
    /// iptables refused.
    pub async fn towards_pods(pod: &str) -> Result<Self> {
        Self::of(&[&["FORWARD", "-s", pod], &["FORWARD", "-d", pod]]).await
    }

    /// The large packets between a pod and all other pods, as where a link takes smaller ones only and does not say
    /// so: connections are opened, and much of what is written to them does not come.
    ///
    /// # Errors
    /// iptables refused.
    pub async fn of_large_packets(pod: &str) -> Result<Self> {
        let large = ["-m", "length", "--length", LARGE];
        let from = [&["FORWARD", "-s", pod][..], &large].concat();
        let to = [&["FORWARD", "-d", pod][..], &large].concat();
        Self::of(&[&from, &to]).await
    }

    /// How many packets did not arrive.
    ///
    /// # Errors
    /// iptables does not say.
    pub async fn dropped(&self) -> Result<u64> {
        let mut dropped = 0;
        for rule in &self.0 {
            let [chain, _, address, ..] = &rule[..] else {
                continue;
            };
            let list = ["-w", "-n", "-v", "-x", "-L", chain];
            let list = run("iptables", &list, None).await?.success()?;
            let of_it = |line: &&str| line.contains("DROP") && line.contains(address.as_str());
            for line in list.lines().filter(of_it) {
                let packets = line.split_whitespace().next().context("packets")?;
                dropped += packets.parse::<u64>()?;
            }
        }
        Ok(dropped)
    }

    async fn of(rules: &[&[&str]]) -> Result<Self> {
        let mut silence = Self(Vec::new());
        for rule in rules {
            let rule = [rule, &["-j", "DROP"][..]].concat();
            // before the rules of kube-proxy, which let packets of known connections through
            let insert = [&["-w", "-I"][..], &rule].concat();
            run("iptables", &insert, None).await?.success()?;
            silence
                .0
                .push(rule.into_iter().map(str::to_owned).collect());
        }
        Ok(silence)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        for rule in &self.0 {
            let mut delete = std::process::Command::new("iptables");
            let deleted = delete.args(["-w", "-D"]).args(rule).status();
            if !deleted.is_ok_and(|status| status.success()) {
                remark(&format!("packets are dropped for ever: {rule:?}"));
            }
        }
    }
}

const API_PORT: &str = "6443";

/// From so many bytes on: more than the packets that open a connection have, and less than a certificate.
const LARGE: &str = "600:";
