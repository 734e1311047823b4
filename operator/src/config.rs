//! The command line and the environment, read once into final types. Nobody else reads either.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use hallpass_core::{
    fault::FaultKind,
    issuer::{IssuerUrl, parse_rotation},
    name::{Audience, Namespace, PodName, TrustDomain, Uid},
    token::signing::Algorithm,
};
use tracing::level_filters::LevelFilter;

use crate::inject::Settings;

/// Everything that can be set, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The names of this release's objects.
    pub names: Names,
    /// This replica's own pod.
    pub pod: PodName,
    /// Its uid.
    pub pod_uid: Uid,
    /// Its address.
    pub pod_ip: IpAddr,
    /// What the API server takes for its own tokens. Never empty.
    pub api_server_audiences: Vec<Audience>,
    /// What adds the sidecar to pods.
    pub engine: Engine,
    /// What the TokenIssuer `hallpass` is made of.
    pub issuer: DefaultIssuer,
    /// How the webhook injects; [`None`] where that is done within the API server.
    pub injection: Option<Settings>,
    /// Which pods without the sidecar are evicted; [`None`]: none.
    pub evict: Option<Evict>,
    /// Where sidecars ask.
    pub api_addr: SocketAddr,
    /// Where the world beyond the cluster asks the issuers.
    pub issuer_addr: SocketAddr,
    /// Where the kubelet and Prometheus ask.
    pub metrics_addr: SocketAddr,
    /// From which level on something is logged.
    pub log_level: LevelFilter,
}

/// What adds the sidecar to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A MutatingAdmissionPolicy, in the API server. Pods trust the ClusterTrustBundle. Kubernetes 1.37.
    AdmissionPolicy,
    /// The operator, called by the API server. Pods trust what they are given with the sidecar, and what
    /// those of that tell. Kubernetes 1.31.
    Webhook,
}

/// Which pods that run without the sidecar are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Evict {
    /// Those whose own label, or that of their namespace, asks for it.
    Labelled,
    /// Those that a TokenPolicy alone selects too.
    Selected,
}

/// What the chart says of the TokenIssuer `hallpass`. What it leaves out has the default of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultIssuer {
    /// The `iss` of its tokens.
    pub url: IssuerUrl,
    /// What its keys sign with.
    pub algorithm: Option<Algorithm>,
    /// How long a key signs before the next one does, in whole seconds.
    pub rotate_every: Option<Duration>,
    /// Where there is one, the `sub` of its tokens is a SPIFFE ID.
    pub spiffe_trust_domain: Option<TrustDomain>,
}

/// The names of this release's objects, all made from the chart's fullname and the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    release: Namespace,
    namespace: Namespace,
}

/// Turns TokenPolicy resources into short-lived, pod-bound tokens for the pods they select.
///
/// The chart writes this command line. Every replica answers; the one that holds the Lease writes
/// status, certificates and the trust bundle. Logs are JSON lines on stderr, audit records JSON lines
/// on stdout.
#[derive(Debug, Parser)]
#[command(name = "hallpass-operator")]
struct Args {
    /// Name of the release's objects (the chart's fullname).
    ///
    /// Sidecars reach the operator at <NAME>.<namespace>.svc. The Lease is <NAME>, the Secret of the
    /// serving certificate <NAME>-serving, and the ClusterRole <NAME>-operator owns the trust bundle
    /// and the TokenIssuer. The signing keys are in the namespace <namespace>-keys.
    #[arg(long, value_parser = Namespace::parse)]
    name: Namespace,

    /// An audience that the API server takes for its own; once for each.
    ///
    /// The chart's admission policies refuse a token for one of them. An operator whose own token has
    /// an audience that is missing here does not become ready, since then the list of the chart is
    /// incomplete too. In the chart: kubernetes.apiServerAudiences.
    #[arg(long = "api-server-audience", value_name = "AUDIENCE", required = true, value_parser = Audience::parse)]
    api_server_audiences: Vec<Audience>,

    /// The URL of the TokenIssuer hallpass: what the tokens that Hallpass makes carry in the claim iss.
    ///
    /// An https URL such as https://id.example, without final slash; verifiers fetch the keys under it. The
    /// leader makes the TokenIssuer and keeps it in step with these four values until somebody edits its
    /// spec. The URL of one that exists is never changed. In the chart: issuer.url.
    #[arg(long, value_name = "URL", value_parser = IssuerUrl::parse)]
    issuer_url: IssuerUrl,

    /// What the keys of the TokenIssuer hallpass sign with: ES256, EdDSA or RS256. ES256 without it.
    ///
    /// In the chart: issuer.algorithm.
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    issuer_algorithm: Option<Algorithm>,

    /// How long a key of the TokenIssuer hallpass signs, from 1h to 365d, such as 12h or 30d. 30d without
    /// it.
    ///
    /// In the chart: issuer.rotateEvery.
    #[arg(long, value_name = "PERIOD", value_parser = parse_rotation)]
    issuer_rotate_every: Option<Duration>,

    /// The SPIFFE trust domain of the TokenIssuer hallpass, such as prod.example.
    ///
    /// With it the tokens carry spiffe://DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT in the claim sub, without it
    /// system:serviceaccount:NAMESPACE:SERVICEACCOUNT. In the chart: issuer.spiffeTrustDomain.
    #[arg(long, value_name = "DOMAIN", value_parser = TrustDomain::parse)]
    issuer_spiffe_trust_domain: Option<TrustDomain>,

    /// What injection adds to pods, in JSON.
    ///
    /// With it --api-addr serves the webhook that injects, at /inject/pod, /inject/namespace and
    /// /inject/policy, and the leader publishes its CA as the caBundle of the MutatingWebhookConfigurations
    /// <NAME>-inject and <NAME>-inject-by-policy (where there is one). Without it the API server injects by the chart's MutatingAdmissionPolicy, and the CA is
    /// published as a ClusterTrustBundle. An operator does not become ready on a cluster that lacks what it
    /// needs for either. In the chart: injection and sidecar.
    #[arg(long, value_name = "JSON", value_parser = Settings::parse)]
    injection: Option<Settings>,

    /// Which pods that run without the sidecar, although they should have it, are evicted. None without it.
    ///
    /// The leader asks the API server, which decides by the PodDisruptionBudgets, for one pod of a namespace at a time, and goes
    /// on once one with the sidecar is ready in its place. Those that a TokenPolicy alone selects come back with it only where
    /// injection by policy is on. In the chart: injection.evictUninjected and injection.byPolicy.
    #[arg(long, value_enum, value_name = "WHICH")]
    evict_uninjected: Option<Evict>,

    /// Where sidecars ask for assignments and tokens (HTTPS).
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8443")]
    api_addr: SocketAddr,

    /// Where the token endpoints, keys and metadata of the issuers are served (HTTPS), and nothing else.
    ///
    /// It is the port to put behind an ingress for verifiers outside of the cluster. Inside, --api-addr
    /// serves all of that too.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8444")]
    issuer_addr: SocketAddr,

    /// Where /metrics, /healthz and /readyz are served (HTTP).
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9402")]
    metrics_addr: SocketAddr,

    /// From which level on something is logged. Libraries are never logged below info.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    log_level: Level,

    /// This replica's own pod, the holder of the Lease.
    #[arg(long, env = "POD_NAME", value_name = "POD", value_parser = PodName::parse)]
    pod_name: PodName,

    /// The uid of that pod, which owns the Lease of this replica.
    #[arg(long, env = "POD_UID", value_name = "UID", value_parser = Uid::parse)]
    pod_uid: Uid,

    /// The address of that pod, under which the other replicas ask this one.
    #[arg(long, env = "POD_IP", value_name = "ADDRESS")]
    pod_ip: IpAddr,

    /// The namespace of the release.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", value_parser = Namespace::parse)]
    pod_namespace: Namespace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// Somebody must act.
    Error,
    /// Degraded, but serving.
    Warn,
    /// The state changed.
    Info,
    /// A line per request.
    Debug,
    /// Everything.
    Trace,
}

impl Config {
    /// Reads the command line and the environment. On a mistake it prints what is wrong and ends the
    /// process with 2, on `--help` with 0.
    #[must_use]
    pub fn from_process() -> Self {
        Args::parse().into()
    }
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        let Args {
            name,
            api_server_audiences,
            issuer_url,
            issuer_algorithm,
            issuer_rotate_every,
            issuer_spiffe_trust_domain,
            injection,
            evict_uninjected,
            api_addr,
            issuer_addr,
            metrics_addr,
            log_level,
            pod_name,
            pod_uid,
            pod_ip,
            pod_namespace,
        } = args;
        Self {
            names: Names {
                release: name,
                namespace: pod_namespace,
            },
            pod: pod_name,
            pod_uid,
            pod_ip,
            api_server_audiences,
            engine: match injection {
                Some(_) => Engine::Webhook,
                None => Engine::AdmissionPolicy,
            },
            issuer: DefaultIssuer {
                url: issuer_url,
                algorithm: issuer_algorithm,
                rotate_every: issuer_rotate_every,
                spiffe_trust_domain: issuer_spiffe_trust_domain,
            },
            injection,
            evict: evict_uninjected,
            api_addr,
            issuer_addr,
            metrics_addr,
            log_level: log_level.into(),
        }
    }
}

fn algorithm(text: &str) -> Result<Algorithm, FaultKind> {
    Algorithm::parse(text).ok_or(FaultKind::OneOf("ES256, EdDSA, RS256"))
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

impl Names {
    /// The names of the release `release` in `namespace`.
    #[must_use]
    pub const fn new(release: Namespace, namespace: Namespace) -> Self {
        Self { release, namespace }
    }

    /// The namespace of the release.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The audience of the identity tokens that sidecars show.
    #[must_use]
    pub fn identity_audience(&self) -> String {
        format!("hallpass.dev/{}", self.namespace)
    }

    /// The Lease that the leader holds.
    #[must_use]
    pub fn lease(&self) -> &str {
        self.release.as_str()
    }

    /// The Secret with the CA and the serving certificate.
    #[must_use]
    pub fn serving_secret(&self) -> String {
        format!("{}-serving", self.release)
    }

    /// The namespace of the signing keys.
    #[must_use]
    pub fn keys_namespace(&self) -> String {
        format!("{}-keys", self.namespace)
    }

    /// The ClusterRole that owns what the operator makes in the cluster's scope.
    #[must_use]
    pub fn operator_role(&self) -> String {
        format!("{}-operator", self.release)
    }

    /// The ClusterRole that a namespace binds to let Hallpass mint there.
    #[must_use]
    pub fn token_request_role(&self) -> String {
        format!("{}-token-request", self.release)
    }

    /// The ClusterTrustBundle with the CA.
    #[must_use]
    pub fn trust_bundle(&self) -> String {
        format!("hallpass.dev:serving:{}", self.namespace)
    }

    /// The MutatingWebhookConfiguration for the pods that are guaranteed the sidecar.
    #[must_use]
    pub fn webhook(&self) -> String {
        format!("{}-inject", self.release)
    }

    /// That for the pods that a policy alone selects.
    #[must_use]
    pub fn webhook_by_policy(&self) -> String {
        format!("{}-inject-by-policy", self.release)
    }

    /// The names under which sidecars reach the operator; the first is the one they are told.
    #[must_use]
    pub fn dns(&self) -> [String; 2] {
        let host = format!("{}.{}.svc", self.release, self.namespace);
        [host.clone(), format!("{host}.cluster.local")]
    }
}

#[cfg(test)]
mod tests;
