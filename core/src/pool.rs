//! Equal values held once.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// Values that many hold: whoever shares an equal one gets the one that is there.
///
/// # Guarantees
/// Of values that nobody else holds it has at most as many as others held when it was [swept](Self::sweep) last, and
/// [`SPARE`] more. It sweeps itself as it grows; who has large values should have it swept now and then.
#[derive(Debug)]
pub struct Pool<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// How many there may be before it is looked at which nobody holds any more.
    room: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            room: SPARE,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    /// The value that equals this one and that others hold, if there is one; otherwise this one.
    #[must_use]
    pub fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(there) = self.values.get(&value) {
            return Arc::clone(there);
        }
        if self.values.len() >= self.room {
            self.sweep();
        }
        self.values.insert(Arc::clone(&value));
        value
    }

    /// Lets go of what nobody else holds.
    pub fn sweep(&mut self) {
        self.values.retain(|value| Arc::strong_count(value) > 1);
        self.room = 2 * self.values.len() + SPARE;
        self.values.shrink_to(self.room);
    }
}

/// How many values are no reason to look which of them nobody holds.
const SPARE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_one_that_is_there() {
        let mut pool = Pool::<str>::default();
        let one = pool.share("a".into());
        assert!(Arc::ptr_eq(&one, &pool.share("a".into())));
        assert!(!Arc::ptr_eq(&one, &pool.share("b".into())));
    }

    #[test]
    fn holds_nothing_alone_once_it_is_swept() {
        let mut pool = Pool::<str>::default();
        let kept = pool.share("kept".into());
        let held: Vec<Arc<str>> = (0..5000)
            .map(|i| pool.share(i.to_string().into()))
            .collect();
        drop(held);
        pool.sweep();
        assert_eq!(pool.values.len(), 1);
        assert!(pool.values.capacity() < 2 * (2 + SPARE), "the room too");
        assert!(Arc::ptr_eq(&kept, &pool.share("kept".into())));
    }

    #[test]
    fn lets_go_of_what_nobody_holds() {
        let mut pool = Pool::<str>::default();
        let kept: Vec<Arc<str>> = (0..100).map(|i| pool.share(i.to_string().into())).collect();
        for i in 0..100_000 {
            drop(pool.share(format!("once {i}").into()));
        }
        let most = 2 * kept.len() + SPARE;
        assert!(pool.values.len() <= most, "{}", pool.values.len());
        for (i, kept) in kept.iter().enumerate() {
            assert!(Arc::ptr_eq(kept, &pool.share(i.to_string().into())));
        }
    }
}
