//! What the program is told: the environment is read here and nowhere else.

use std::{fmt, path::PathBuf};

use rustls_pki_types::ServerName;

/// Where everything is. The paths are fixed by the injected part of the pod; only tests change them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the operator is.
    pub operator: Operator,
    /// The name that leads to each of its replicas; where there is none, only the one above is asked.
    pub replicas: Option<Operator>,
    /// The directory with one directory per container.
    pub containers: PathBuf,
    /// The file with the pod's identity token.
    pub identity: PathBuf,
    /// The file with the certificates that the operator is trusted by.
    pub trust: PathBuf,
    /// The certificates that the operator is trusted by where there is no such file.
    pub ca: Option<Vec<u8>>,
    /// The directory that outlives a crash; where there is none, nothing does.
    pub cache: PathBuf,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The environment says nothing.
    #[error("HALLPASS_OPERATOR is not set: it says where the operator is, as host:port")]
    OperatorMissing,
    /// The environment says something else.
    #[error("HALLPASS_OPERATOR must be host:port, such as hallpass.hallpass-system.svc:443")]
    OperatorMalformed,
    /// So it does of the replicas.
    #[error(
        "HALLPASS_REPLICAS must be host:port, such as hallpass-replicas.hallpass-system.svc:8443"
    )]
    ReplicasMalformed,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// `HALLPASS_OPERATOR` is absent or malformed, or `HALLPASS_REPLICAS` is malformed.
    pub fn from_env() -> Result<Self, ConfigError> {
        let operator = env("HALLPASS_OPERATOR").ok_or(ConfigError::OperatorMissing)?;
        Ok(Self {
            operator: Operator::parse(&operator)?,
            replicas: env("HALLPASS_REPLICAS")
                .map(|replicas| Operator::parse(&replicas))
                .transpose()
                // The name of the variable is all that differs.
                .map_err(|_malformed| ConfigError::ReplicasMalformed)?,
            containers: PathBuf::from(CONTAINERS),
            identity: PathBuf::from(IDENTITY),
            trust: PathBuf::from(TRUST),
            ca: env("HALLPASS_CA").map(String::into_bytes),
            cache: PathBuf::from(CACHE),
        })
    }
}

/// The operator's host and port.
///
/// # Guarantees
/// The host is a name or an address that a certificate can be checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Operator {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// Another form.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::OperatorMalformed;
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        // Both errors say less than ours.
        let port = port.parse().map_err(|_less| malformed())?;
        let name = ServerName::try_from(host.clone()).map_err(|_less| malformed())?;
        Ok(Self { host, port, name })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What its certificate must be for.
    pub(crate) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The socket that `get` is told to use, where it is told.
pub(crate) fn told_socket() -> Option<PathBuf> {
    env("HALLPASS_SOCKET").map(PathBuf::from)
}

/// The directory with one directory per container.
pub(crate) const CONTAINERS: &str = "/run/hallpass";
const IDENTITY: &str = "/var/run/secrets/hallpass.dev/token";
const CACHE: &str = "/var/cache/hallpass";
const TRUST: &str = "/var/run/secrets/hallpass.dev/ca.pem";

#[expect(clippy::disallowed_methods, reason = "this is the one module")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_and_addresses_and_writes_them_back() {
        for text in [
            "hallpass.hallpass-system.svc:443",
            "10.0.0.1:8443",
            "[::1]:443",
        ] {
            assert_eq!(Operator::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_host_and_port() {
        for text in [
            "hallpass",
            "hallpass:https",
            "hallpass:70000",
            ":443",
            "a b:443",
        ] {
            assert!(
                matches!(Operator::parse(text), Err(ConfigError::OperatorMalformed)),
                "{text}"
            );
        }
    }
}
