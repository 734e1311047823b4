//! The claims of an opaque token in few bytes. Whatever the issuer and the audience say already is left
//! out. Numbers are big-endian.
//!
//! ```text
//! flags           1 byte, see below
//! issued          4 bytes, seconds since 1970
//! life            2 bytes, seconds
//! id              16 bytes where it is a UUID, else 1 byte of length and the text
//! account uid     the same
//! pod uid         the same
//! known           1 byte with two lengths, 4 bits each; the first number, and what the second is
//!                 by exclusive or with the first, without leading zero bytes
//! client id       2 bytes of length and the text, where it is neither the subject nor the account
//! names           2 bytes of length and the trust domain, where the subject is a SPIFFE id, namespace, account, pod, policy, scopes, joined with '*'
//! extra claims    to the end: 1 byte of length and the name, 2 bytes of length and the value
//! ```
//! The names are packed into 6 bits a character wherever [`SYMBOLS`] has all of their characters. There
//! is exactly one encoding of some claims, and [`decode`] takes no other one.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    alphabet::Alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD},
};
use jiff::Timestamp;

use super::{super::claims::SubjectForm, Claims, Flaw};
use crate::{
    name::{
        Audience, ClaimName, Namespace, ObjectName, PodName, Scope, ServiceAccount, TokenId,
        TrustDomain, Uid,
    },
    revocation::Epochs,
    scope::ScopeSet,
    uuid,
};

const ID_IS_UUID: u8 = 1;
const ACCOUNT_IS_UUID: u8 = 1 << 1;
const POD_IS_UUID: u8 = 1 << 2;
const SUBJECT_IS_SPIFFE: u8 = 1 << 3;
const CLIENT_IS_SUBJECT: u8 = 1 << 4;
const CLIENT_IS_ACCOUNT: u8 = 1 << 5;
const PACKED: u8 = 1 << 6;

/// The bytes of those claims, which were checked before.
pub(super) fn encode(claims: &Claims) -> Result<Vec<u8>, Flaw> {
    let form = claims.subject_form().ok_or(Flaw::Subject)?;
    let issued = claims.issued.as_second();
    let life = u16::try_from(claims.expires.as_second() - issued).ok();
    let mut to = Writer(vec![0]);
    let issued = u32::try_from(issued).ok().ok_or(Flaw::Member("iat"))?;
    to.0.extend(issued.to_be_bytes());
    to.0.extend(life.ok_or(Flaw::Lifetime)?.to_be_bytes());
    to.id(claims.id.as_str(), ID_IS_UUID)?;
    to.id(claims.service_account_uid.as_str(), ACCOUNT_IS_UUID)?;
    to.id(claims.pod_uid.as_str(), POD_IS_UUID)?;
    to.known(claims.known);
    let account = SubjectForm::Kubernetes.write(&claims.namespace, &claims.service_account);
    if claims.client_id == claims.subject {
        to.flag(CLIENT_IS_SUBJECT);
    } else if *claims.client_id == *account {
        to.flag(CLIENT_IS_ACCOUNT);
    } else {
        to.long(claims.client_id.as_bytes())?;
    }
    let domain = match &form {
        SubjectForm::Spiffe(domain) => Some(domain.as_str()),
        SubjectForm::Kubernetes => None,
    };
    if domain.is_some() {
        to.flag(SUBJECT_IS_SPIFFE);
    }
    to.names(domain, claims)?;
    for (name, value) in &claims.extra {
        to.short(name.as_str())?;
        to.long(value.as_bytes())?;
    }
    Ok(to.0)
}

/// The claims of those bytes; [`None`] where [`encode`] would not have written them so, to the byte.
pub(super) fn decode(content: &[u8], issuer: &str, audience: &Audience) -> Option<Claims> {
    let (&flags, rest) = content.split_first()?;
    let mut from = Reader { flags, rest };
    let issued = from.number(4)?;
    let life = from.number(2)?;
    let id = TokenId::parse(&from.id(ID_IS_UUID)?).ok()?;
    let service_account_uid = Uid::parse(&from.id(ACCOUNT_IS_UUID)?).ok()?;
    let pod_uid = Uid::parse(&from.id(POD_IS_UUID)?).ok()?;
    let known = from.known()?;
    let client_id = if from.has(CLIENT_IS_SUBJECT | CLIENT_IS_ACCOUNT) {
        None
    } else {
        Some(from.long()?)
    };
    let names = from.names()?;
    let mut names = names.split('*');
    let form = if from.has(SUBJECT_IS_SPIFFE) {
        SubjectForm::Spiffe(TrustDomain::parse(names.next()?).ok()?)
    } else {
        SubjectForm::Kubernetes
    };
    let namespace = Namespace::parse(names.next()?).ok()?;
    let service_account = ServiceAccount::parse(names.next()?).ok()?;
    let pod = PodName::parse(names.next()?).ok()?;
    let policy = ObjectName::parse(names.next()?).ok()?;
    let scopes = names
        .map(Scope::parse)
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let subject = form.write(&namespace, &service_account);
    let client_id = match client_id {
        Some(text) => text.into(),
        None if from.has(CLIENT_IS_SUBJECT) => subject.as_str().into(),
        None => SubjectForm::Kubernetes
            .write(&namespace, &service_account)
            .into(),
    };
    let claims = Claims {
        issuer: issuer.into(),
        subject: subject.into(),
        audience: audience.clone(),
        expires: Timestamp::from_second(issued + life).ok()?,
        issued: Timestamp::from_second(issued).ok()?,
        id,
        client_id,
        scopes: ScopeSet::new(scopes)?,
        namespace,
        service_account,
        service_account_uid,
        pod,
        pod_uid,
        policy,
        known,
        extra: from.extra()?,
    };
    // Every byte was read, and none could be another one.
    let same = encode(&claims).is_ok_and(|encoded| encoded == content);
    same.then_some(claims)
}

struct Writer(Vec<u8>);

impl Writer {
    fn flag(&mut self, flag: u8) {
        if let Some(flags) = self.0.first_mut() {
            *flags |= flag;
        }
    }

    fn id(&mut self, text: &str, is_uuid: u8) -> Result<(), Flaw> {
        let Some(bytes) = uuid::bytes(text) else {
            return self.short(text);
        };
        self.flag(is_uuid);
        self.0.extend(bytes);
        Ok(())
    }

    fn short(&mut self, text: &str) -> Result<(), Flaw> {
        // How much too long it is tells nothing: dropped, here and below.
        self.0
            .push(u8::try_from(text.len()).ok().ok_or(Flaw::TooLong)?);
        self.0.extend(text.as_bytes());
        Ok(())
    }

    fn long(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        let length = u16::try_from(bytes.len()).ok().ok_or(Flaw::TooLong)?;
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes);
        Ok(())
    }

    fn known(
        &mut self,
        Epochs {
            namespaced,
            cluster,
        }: Epochs,
    ) {
        let bytes = [namespaced, namespaced ^ cluster].map(u64::to_be_bytes);
        let [first, second] = bytes.each_ref().map(|bytes| {
            bytes
                .iter()
                .position(|byte| *byte != 0)
                .unwrap_or(bytes.len())
        });
        // Both are at most 8.
        self.0.push(((8 - first) << 4 | (8 - second)) as u8);
        self.0.extend(&bytes[0][first..]);
        self.0.extend(&bytes[1][second..]);
    }

    fn names(&mut self, domain: Option<&str>, claims: &Claims) -> Result<(), Flaw> {
        let first = [
            claims.namespace.as_str(),
            claims.service_account.as_str(),
            claims.pod.as_str(),
            claims.policy.as_str(),
        ];
        let scopes = claims.scopes.iter().map(Scope::as_str);
        let names = domain
            .into_iter()
            .chain(first)
            .chain(scopes)
            .collect::<Vec<_>>()
            .join("*");
        match pack(&names) {
            Some(packed) => {
                self.flag(PACKED);
                self.long(&packed)
            }
            None => self.long(names.as_bytes()),
        }
    }
}

struct Reader<'a> {
    flags: u8,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self, length: usize) -> Option<i64> {
        let bytes = self.take(length)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, &byte| number << 8 | i64::from(byte)),
        )
    }

    fn known(&mut self) -> Option<Epochs> {
        let lengths = *self.take(1)?.first()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        let lengths = [lengths >> 4, lengths & 15].map(usize::from);
        if lengths.iter().any(|length| *length > 8) {
            return None;
        }
        let namespaced = number(self.take(lengths[0])?);
        Some(Epochs {
            namespaced,
            cluster: namespaced ^ number(self.take(lengths[1])?),
        })
    }

    fn id(&mut self, is_uuid: u8) -> Option<String> {
        if self.has(is_uuid) {
            Some(uuid::text(*self.take(16)?.first_chunk()?))
        } else {
            self.short().map(str::to_owned)
        }
    }

    fn short(&mut self) -> Option<&'a str> {
        let length = *self.take(1)?.first()?;
        str::from_utf8(self.take(length.into())?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(2)?.first_chunk()?;
        self.take(u16::from_be_bytes(length).into())
    }

    fn long(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn names(&mut self) -> Option<String> {
        if self.has(PACKED) {
            self.bytes().map(unpack)
        } else {
            self.long().map(str::to_owned)
        }
    }

    fn extra(&mut self) -> Option<BTreeMap<ClaimName, Box<str>>> {
        let mut extra = BTreeMap::new();
        while !self.rest.is_empty() {
            let name = ClaimName::parse(self.short()?).ok()?;
            extra.insert(name, self.long()?.into());
        }
        Some(extra)
    }
}

/// The characters of names that are packed: all of Kubernetes' own, and those that are usual in scopes.
/// The place of a character is its 6 bits. `*` is in no name and ends one.
const SYMBOLS: &str = "*abcdefghijklmnopqrstuvwxyz0123456789-.:_/ABCDEFGHIKLMNOPRSTUVWY";

/// Packing is decoding of base64 with another alphabet.
const SIX_BITS: GeneralPurpose = GeneralPurpose::new(
    &match Alphabet::new(SYMBOLS) {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("64 distinct characters are an alphabet"),
    },
    NO_PAD,
);

/// Three bytes for four characters, filled up with `*`; [`None`] where a character has no place.
fn pack(names: &str) -> Option<Vec<u8>> {
    let mut filled = names.to_owned();
    while !filled.len().is_multiple_of(4) {
        filled.push('*');
    }
    SIX_BITS.decode(filled).ok()
}

fn unpack(packed: &[u8]) -> String {
    SIX_BITS.encode(packed).trim_end_matches('*').to_owned()
}

#[cfg(test)]
mod tests;
