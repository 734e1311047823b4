//! The command line and the environment, read once into final types. Nobody else reads either.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use hallpass_core::name::{Audience, Namespace, PodName};
use tracing::level_filters::LevelFilter;

/// Everything that can be set, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The names of this release's objects.
    pub names: Names,
    /// This replica's own pod.
    pub pod: PodName,
    /// What the API server takes for its own tokens. Never empty.
    pub api_server_audiences: Vec<Audience>,
    /// Where sidecars ask.
    pub api_addr: SocketAddr,
    /// Where the kubelet and Prometheus ask.
    pub metrics_addr: SocketAddr,
    /// From which level on something is logged.
    pub log_level: LevelFilter,
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
    /// serving certificate <NAME>-serving, and the ClusterRole <NAME>-operator owns the trust bundle.
    #[arg(long, value_parser = Namespace::parse)]
    name: Namespace,

    /// An audience that the API server takes for its own; once for each.
    ///
    /// The chart's admission policies refuse a token for one of them. An operator whose own token has
    /// an audience that is missing here does not become ready, since then the list of the chart is
    /// incomplete too. In the chart: kubernetes.apiServerAudiences.
    #[arg(long = "api-server-audience", value_name = "AUDIENCE", required = true, value_parser = Audience::parse)]
    api_server_audiences: Vec<Audience>,

    /// Where sidecars ask for assignments and tokens (HTTPS).
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8443")]
    api_addr: SocketAddr,

    /// Where /metrics, /healthz and /readyz are served (HTTP).
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9402")]
    metrics_addr: SocketAddr,

    /// From which level on something is logged. Libraries are never logged below info.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    log_level: Level,

    /// This replica's own pod, the holder of the Lease.
    #[arg(long, env = "POD_NAME", value_name = "POD", value_parser = PodName::parse)]
    pod_name: PodName,

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
            api_addr,
            metrics_addr,
            log_level,
            pod_name,
            pod_namespace,
        } = args;
        Self {
            names: Names {
                release: name,
                namespace: pod_namespace,
            },
            pod: pod_name,
            api_server_audiences,
            api_addr,
            metrics_addr,
            log_level: log_level.into(),
        }
    }
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

    /// The names under which sidecars reach the operator; the first is the one they are told.
    #[must_use]
    pub fn dns(&self) -> [String; 2] {
        let host = format!("{}.{}.svc", self.release, self.namespace);
        [host.clone(), format!("{host}.cluster.local")]
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    const NEEDED: [&str; 4] = [
        "--name=hallpass",
        "--api-server-audience=https://a",
        "--pod-name=hallpass-0",
        "--pod-namespace=hallpass-system",
    ];

    fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        Args::try_parse_from([&["hallpass-operator"], arguments].concat()).map(Config::from)
    }

    #[test]
    fn what_is_not_said_has_the_documented_default() {
        let config = parse(&NEEDED).unwrap();
        assert_eq!(config.api_addr.to_string(), "[::]:8443");
        assert_eq!(config.metrics_addr.to_string(), "[::]:9402");
        assert_eq!(config.log_level, LevelFilter::INFO);
        assert_eq!(config.pod.as_str(), "hallpass-0");
    }

    #[test]
    fn what_is_said_is_kept() {
        let said = [
            "--api-server-audience=b",
            "--api-addr=127.0.0.1:1",
            "--metrics-addr=[::1]:2",
            "--log-level=debug",
        ];
        let config = parse(&[&NEEDED[..], &said].concat()).unwrap();
        let audiences: Vec<_> = config
            .api_server_audiences
            .iter()
            .map(Audience::as_str)
            .collect();
        assert_eq!(audiences, ["https://a", "b"]);
        assert_eq!(config.api_addr.to_string(), "127.0.0.1:1");
        assert_eq!(config.metrics_addr.to_string(), "[::1]:2");
        assert_eq!(config.log_level, LevelFilter::DEBUG);
    }

    #[test]
    fn a_mistake_is_named() {
        for (i, needed) in NEEDED.iter().enumerate().take(2) {
            let mut arguments = NEEDED.to_vec();
            arguments.remove(i);
            let error = parse(&arguments).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{needed}");
        }
        for (mistake, told) in [
            ("--name=Hallpass", "lower-case"),
            ("--api-server-audience=", "must not be empty"),
            (
                "--api-server-audience=hallpass.dev/x",
                "reserved for Hallpass",
            ),
            ("--api-addr=8443", "invalid socket address"),
            ("--metrics-addr=localhost", "invalid socket address"),
            (
                "--log-level=loud",
                "possible values: error, warn, info, debug, trace",
            ),
            ("--pod-namespace=a.b", "lower-case"),
        ] {
            let flag = mistake.split('=').next().unwrap();
            let mut arguments: Vec<_> = NEEDED
                .iter()
                .filter(|n| !n.starts_with(flag))
                .copied()
                .collect();
            arguments.push(mistake);
            let text = parse(&arguments).unwrap_err().to_string();
            assert!(
                text.contains(told) && text.contains(flag),
                "{mistake}: {text}"
            );
        }
    }

    #[test]
    fn every_name_follows_from_the_release() {
        let names = parse(&NEEDED).unwrap().names;
        assert_eq!(names.identity_audience(), "hallpass.dev/hallpass-system");
        assert_eq!(names.lease(), "hallpass");
        assert_eq!(names.serving_secret(), "hallpass-serving");
        assert_eq!(names.operator_role(), "hallpass-operator");
        assert_eq!(names.token_request_role(), "hallpass-token-request");
        assert_eq!(names.trust_bundle(), "hallpass.dev:serving:hallpass-system");
        assert_eq!(
            names.dns(),
            [
                "hallpass.hallpass-system.svc",
                "hallpass.hallpass-system.svc.cluster.local"
            ]
        );
    }

    #[test]
    fn help_tells_what_every_flag_is_for() {
        for argument in Args::command().get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} has no help",
                argument.get_id()
            );
        }
    }
}
