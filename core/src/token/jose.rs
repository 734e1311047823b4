//! What every signed token has in common, read strictly: three parts (RFC 7515 §3.1), base64url of
//! which there is exactly one spelling, JSON objects in which no name occurs twice.
//!
//! Strictness is what keeps two readers of one token from seeing two different things, and a hash of
//! a token from missing its twin. No text here repeats anything of the token.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

pub(super) use super::fault::Flaw;

/// The parts of a token, still encoded.
pub(super) struct Parts<'a> {
    pub(super) header: &'a str,
    pub(super) claims: &'a str,
    pub(super) signature: &'a str,
    /// What was signed: the first two parts with their dot.
    pub(super) signed: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, Flaw> {
        if token.len() > LONGEST_TOKEN {
            return Err(Flaw::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Parts)?;
        if claims.contains('.') {
            return Err(Flaw::Parts);
        }
        Ok(Self {
            header,
            claims,
            signature,
            signed,
        })
    }
}

/// The bytes of a part. The engine refuses padding, characters outside of the alphabet and trailing
/// bits, so no two texts have the same bytes.
pub(super) fn bytes(part: &str) -> Result<Vec<u8>, Flaw> {
    // The cause quotes the symbol that it met: it is dropped, as everything of the token is.
    URL_SAFE_NO_PAD.decode(part).ok().ok_or(Flaw::Base64)
}

/// The one spelling of those bytes.
pub(super) fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the one spelling of those bytes.
pub(super) fn append(bytes: impl AsRef<[u8]>, to: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, to);
}

/// Reads all of `json` as one object in which no name occurs twice, at any depth.
pub(super) fn object(json: &[u8]) -> Result<Map<String, Value>, Flaw> {
    // The cause may quote the document: it is dropped too.
    match serde_json::from_slice(json).ok() {
        Some(Unique(Value::Object(members))) => Ok(members),
        Some(_) | None => Err(Flaw::Json),
    }
}

/// The members of an object, read by name and type. A `null` is a member of the wrong type.
#[derive(Clone, Copy)]
pub(super) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Members<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    /// Whether every member is one of those.
    pub(super) fn only(self, names: &[&str]) -> bool {
        self.0.keys().all(|name| names.contains(&name.as_str()))
    }

    pub(super) fn text(self, name: &'static str) -> Result<&'a str, Flaw> {
        let text = self.get(name).and_then(Value::as_str);
        text.ok_or(Flaw::Member(name))
    }

    /// An integer that is written as one: neither `1.0` nor `1e0` nor `"1"`.
    pub(super) fn integer(self, name: &'static str) -> Result<i64, Flaw> {
        let integer = self.get(name).and_then(Value::as_i64);
        integer.ok_or(Flaw::Member(name))
    }

    /// A text that `parse` takes.
    pub(super) fn parsed<T, E>(
        self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Flaw> {
        // Which rule is broken tells nothing about a token that nobody could have made: dropped.
        parse(self.text(name)?).ok().ok_or(Flaw::Member(name))
    }

    /// A time that is written in whole seconds and does not lie before 1970.
    pub(super) fn time(self, name: &'static str) -> Result<Timestamp, Flaw> {
        let seconds = self.integer(name)?;
        let time = Timestamp::from_second(seconds).ok();
        time.filter(|_| seconds >= 0).ok_or(Flaw::Member(name))
    }

    pub(super) fn object(self, name: &'static str) -> Result<Self, Flaw> {
        let object = self.get(name).and_then(Value::as_object);
        object.map(Self).ok_or(Flaw::Member(name))
    }
}

/// A JSON value that was read with an eye on names that occur twice: `serde_json` keeps the last one
/// in silence. The depth is bounded by `serde_json`.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unique(value))) = map.next_entry::<String, Unique>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

/// The longest token that is looked at.
pub(super) const LONGEST_TOKEN: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_a_part_has_exactly_one_spelling() {
        assert_eq!(bytes("_-8"), Ok(vec![0xff, 0xef]));
        for lax in [
            "_-8=",
            "_-8 ",
            " _-8",
            "_-8\n",
            "_-9",
            "/+8",
            "_-8==",
            "_",
            "_-8\u{e9}",
        ] {
            assert_eq!(bytes(lax), Err(Flaw::Base64), "{lax:?}");
        }
        // Of all last symbols of a two-symbol group, those whose low bits are zero and no other.
        let canonical =
            (b'!'..=b'~').filter(|&last| bytes(&format!("A{}", char::from(last))).is_ok());
        assert_eq!(canonical.collect::<Vec<_>>(), b"AQgw");
    }

    #[test]
    fn t09_a_name_that_occurs_twice_is_refused_at_any_depth() {
        let fine = r#"{"a":1,"b":{"a":1,"b":[{"a":1},{"a":1}]}}"#;
        assert_eq!(object(fine.as_bytes()).map(|o| o.len()), Ok(2));
        let duplicates = [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[[{"b":1,"c":2,"b":3}]]}"#,
        ];
        for duplicate in duplicates {
            assert_eq!(object(duplicate.as_bytes()), Err(Flaw::Json), "{duplicate}");
        }
    }

    #[test]
    fn t13_only_a_whole_and_shallow_object_is_one() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let refused: [&[u8]; 11] = [
            b"",
            b"null",
            b"[]",
            br#"["ES256","kid"]"#,
            br#""a""#,
            b"{} {}",
            b"{}x",
            br#"{"a":1e400}"#,
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            deep.as_bytes(),
        ];
        for json in refused {
            assert_eq!(object(json), Err(Flaw::Json));
        }
        assert_eq!(object(b" {} ").map(|o| o.len()), Ok(0));
    }

    #[test]
    fn reads_every_other_object_as_serde_json_does() {
        let json =
            br#"{"a":[true,false,null,-1,18446744073709551615,1.5,"\u00e9",[],{}],"b":{"c":0}}"#;
        assert_eq!(object(json), Ok(serde_json::from_slice(json).unwrap()));
    }
}
