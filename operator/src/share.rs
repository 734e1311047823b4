//! How much of something one address has, such as the connections of a listener: nobody takes all of it.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How much each address has that has any.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// What an address has taken at a time; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    address: IpAddr,
    count: usize,
}

impl Shares {
    /// Each address has at most that much.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    /// So much more for that address, unless that is above its share.
    pub(crate) fn take(&self, address: IpAddr, count: usize) -> Option<Share> {
        let mut share = Share {
            shares: self.clone(),
            address: address.to_canonical(),
            count: 0,
        };
        share.grow(count).then_some(share)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Each change is one assignment: there is no half-made state behind a panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes so much more, unless that is above what the address may have. Whether it was taken.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let mut taken = self.shares.taken();
        let has = taken.get(&self.address).copied().unwrap_or_default();
        let fits = more <= self.shares.most.saturating_sub(has);
        if fits {
            taken.insert(self.address, has + more);
            self.count += more;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.shares.taken().entry(self.address) {
            *count.get_mut() -= self.count;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use super::*;

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2);
        let (one, mapped): (IpAddr, IpAddr) = (
            "10.0.0.1".parse().unwrap(),
            "::ffff:10.0.0.1".parse().unwrap(),
        );
        let first = shares.take(one, 1);
        let second = shares.take(mapped, 1);
        assert!(first.is_some() && second.is_some());
        assert!(shares.take(one, 1).is_none(), "the same address in IPv6");
        assert!(shares.take("10.0.0.2".parse().unwrap(), 1).is_some());
        drop(first);
        assert!(shares.take(one, 1).is_some());
        drop(second);
        assert_eq!(shares.taken().len(), 0, "nothing is kept of who is gone");
    }

    #[test]
    fn f22_a_panic_amidst_a_change_keeps_nobody_from_a_share() {
        let shares = Shares::new(1);
        let said = std::panic::catch_unwind(|| {
            let _taken = shares.taken();
            panic!("injected")
        });
        let said: Box<dyn Any + Send> = said.unwrap_err();
        assert_eq!(said.downcast_ref(), Some(&"injected"));
        let first = shares.take([10, 0, 0, 1].into(), 1);
        assert!(first.is_some());
        drop(first);
        assert_eq!(shares.taken().len(), 0);
    }

    #[test]
    fn a_share_grows_up_to_what_one_address_has() {
        let shares = Shares::new(10);
        let one = "10.0.0.1".parse().unwrap();
        let mut share = shares.take(one, 4).unwrap();
        assert!(!share.grow(7), "above it");
        assert!(share.grow(6));
        assert!(shares.take(one, 1).is_none());
        assert!(!share.grow(usize::MAX), "more than can be counted");
        drop(share);
        assert_eq!(shares.taken().len(), 0);
        assert!(shares.take(one, 11).is_none());
        assert_eq!(
            shares.taken().len(),
            0,
            "nothing is kept of who got nothing"
        );
        assert!(shares.take(one, 10).is_some());
    }
}
