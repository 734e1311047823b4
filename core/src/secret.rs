//! A value that does not print.

use std::fmt;

use zeroize::Zeroize;

/// Holds a credential. It has no `Display` and no `Serialize`, its `Debug` prints `[secret]`, and its
/// memory is wiped when it is dropped. Every place that looks inside says [`expose`](Self::expose).
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the credential in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The credential itself, for the last step alone: a signature, a comparison, the wire.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing_of_what_it_holds() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its derived Debug is looked at")]
        struct Holder {
            token: Secret<String>,
        }
        let holder = Holder {
            token: Secret::new("eyJhbGciOi.planted.sig".into()),
        };
        assert_eq!(format!("{holder:?}"), "Holder { token: [secret] }");
    }
}
