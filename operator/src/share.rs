//! How many connections one address has: nobody takes all the places of a listener.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections of each address that has any.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One connection of an address; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    address: IpAddr,
}

impl Shares {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// One more connection of that address, unless it has its share already.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share {
            shares: self.clone(),
            address,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Each change is one assignment: there is no half-made state behind a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.shares.open().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2);
        let (one, mapped): (IpAddr, IpAddr) = (
            "10.0.0.1".parse().unwrap(),
            "::ffff:10.0.0.1".parse().unwrap(),
        );
        let first = shares.take(one);
        let second = shares.take(mapped);
        assert!(first.is_some() && second.is_some());
        assert!(shares.take(one).is_none(), "the same address in IPv6");
        assert!(shares.take("10.0.0.2".parse().unwrap()).is_some());
        drop(first);
        assert!(shares.take(one).is_some());
        drop(second);
        assert_eq!(shares.open().len(), 0, "nothing is kept of who is gone");
    }
}
