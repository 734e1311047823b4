//! What issuers have below their URLs.

mod clock;
mod fixture;
mod foreign;
mod introspect;
mod passing;
mod place;
mod published;
mod refusal;
mod revocation;
mod revoke;
mod token;
