//! The header of a signed token and its one signature, checked alike for every kind of token.

use std::sync::Arc;

use super::{
    fault::Flaw,
    jose::{self, Members, Parts},
    keys::KeySet,
};

/// What the header of one kind of token says.
pub(super) struct Kind {
    /// The `typ`, compared as it is written.
    pub(super) typ: &'static str,
    /// Whether it must be there (RFC 8725 §3.11).
    pub(super) typ_required: bool,
    /// The algorithms that its issuer signs with. A token with another one was never made by it.
    pub(super) algorithms: &'static [&'static str],
}

/// Why a token counts as not signed.
pub(super) enum Unsigned {
    Malformed(Flaw),
    UnknownKey,
    BadSignature,
}

impl From<Flaw> for Unsigned {
    fn from(flaw: Flaw) -> Self {
        Self::Malformed(flaw)
    }
}

/// The header is `alg`, `kid`, `typ` and nothing else. The `kid` is a key of a table and nothing else:
/// it is neither printed nor made a path. At most one signature is checked. Gives the `kid`.
pub(super) fn check(keys: &KeySet, parts: &Parts<'_>, kind: &Kind) -> Result<Arc<str>, Unsigned> {
    let header = jose::object(&jose::bytes(parts.header)?)?;
    let header = Members(&header);
    if !header.only(&["alg", "kid", "typ"]) {
        return Err(Flaw::UnknownHeader.into());
    }
    let typ_fits = match header.get("typ") {
        Some(typ) => typ == kind.typ,
        None => !kind.typ_required,
    };
    if !typ_fits {
        return Err(Flaw::Type.into());
    }
    let algorithm = header.text("alg")?;
    if !kind.algorithms.contains(&algorithm) {
        return Err(Flaw::Algorithm.into());
    }
    let kid = header.text("kid")?;
    let key = keys.find(kid).ok_or(Unsigned::UnknownKey)?;
    if algorithm != key.algorithm() {
        return Err(Flaw::Algorithm.into());
    }
    if key.signed(parts)? {
        Ok(kid.into())
    } else {
        Err(Unsigned::BadSignature)
    }
}
