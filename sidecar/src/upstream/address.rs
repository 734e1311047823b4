//! Where a name leads.

use std::net::SocketAddr;

use tokio::net::lookup_host;

use super::{
    connect::{CONNECT, within},
    error::{Step, UpstreamError},
};
use crate::config::Operator;

/// A name and the addresses that it led to. The name of a Service has an address that stays; a look-up
/// asks up to eight questions, and the pods are many.
#[derive(Debug)]
pub(super) struct Addresses {
    target: Operator,
    known: Vec<SocketAddr>,
    doubted: bool,
}

impl Addresses {
    pub(super) const fn new(target: Operator) -> Self {
        Self {
            target,
            known: Vec::new(),
            doubted: false,
        }
    }

    /// The addresses that are known, after a look-up where there are none or they are in doubt. Where it
    /// fails, those that were known are better than none.
    pub(super) async fn resolve(&mut self) -> Result<&[SocketAddr], UpstreamError> {
        if self.doubted || self.known.is_empty() {
            match look_up(&self.target).await {
                Ok(addresses) if !addresses.is_empty() => self.known = addresses,
                Err(error) if self.known.is_empty() => return Err(error),
                Ok(_) | Err(_) => {}
            }
            self.doubted = false;
        }
        Ok(&self.known)
    }

    /// Nobody was reached there: the next one looks the name up anew.
    pub(super) const fn doubt(&mut self) {
        self.doubted = true;
    }

    /// There is no address at all.
    pub(super) fn none(&self) -> UpstreamError {
        UpstreamError::NoAddress {
            host: self.target.host().to_owned(),
        }
    }
}

async fn look_up(target: &Operator) -> Result<Vec<SocketAddr>, UpstreamError> {
    let lookup = lookup_host((target.host(), target.port()));
    let addresses = within(CONNECT, Step::Resolve, lookup)
        .await?
        .map_err(|source| UpstreamError::Resolve {
            host: target.host().to_owned(),
            source,
        })?;
    Ok(addresses.take(ADDRESSES).collect())
}

const ADDRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f21_an_address_that_is_known_is_used_while_the_name_cannot_be_looked_up() {
        // RFC 6761 §6.4: this name has no address.
        let target = Operator::parse("hallpass.invalid:443").unwrap();
        let mut addresses = Addresses::new(target);
        let error = addresses.resolve().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Resolve { .. }), "{error}");
        let known: SocketAddr = "192.0.2.1:443".parse().unwrap();
        addresses.known = vec![known];
        addresses.doubt();
        assert_eq!(addresses.resolve().await.unwrap(), [known]);
    }
}
