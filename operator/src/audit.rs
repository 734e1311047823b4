//! The record of what was issued and refused: JSON lines, one per token.
//!
//! Called by [`crate::issue`] alone. A record holds the hash of a token, never the token.

use std::{
    io::{self, Write},
    sync::Arc,
};

use hallpass_core::{
    decide::Subject,
    denial::Code,
    name::{TokenId, TokenName},
    wire,
};
use jiff::Timestamp;

use self::{
    record::Record,
    stream::{Room, STALL, Stream},
};
use crate::issuer::{IssuedToken, hex};

mod record;
mod stream;

/// What was written down. Only [`Audit::record`] makes one.
#[derive(Debug)]
pub struct Audited<T>(T);

impl Audited<IssuedToken> {
    /// The token as it goes over the wire.
    #[must_use]
    pub fn into_wire(self) -> wire::IssuedToken {
        self.0.into_wire()
    }
}

/// What the logs of both sides and the audit call one request: random, never the caller's choice.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let bytes: [u8; 16] = rand::random();
        Self(hex(&bytes).into())
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It has no JSON form.
    #[error("encode the audit record")]
    EncodeRecord(#[source] serde_json::Error),
    /// The stream does not take it.
    #[error("write the audit record")]
    WriteRecord(#[source] Arc<io::Error>),
    /// Nothing takes the records, and too many wait.
    #[error("too many audit records wait to be written: nothing reads the standard output")]
    Full,
    /// Nothing takes the records.
    #[error("an audit record is not written after {STALL:?}: nothing reads the standard output")]
    Stalled,
    /// Whatever wrote it was lost.
    #[error("wait for the audit record to be written")]
    AwaitWriter(#[source] tokio::sync::oneshot::error::RecvError),
}

/// Writes records. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Stream);

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// Records go to that stream, whole lines in one write.
    #[must_use]
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Stream::new(writer))
    }

    /// Records go to the standard output. No thread waits while a pipe is full.
    #[must_use]
    pub fn stdout() -> Self {
        Self(Stream::stdout())
    }

    /// Records that a token was issued, and gives it back as what may leave the operator.
    ///
    /// # Guarantees
    /// The record was written and flushed as one line. Without it there is no token: it is dropped.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn record(
        &self,
        request: &RequestId,
        issued: IssuedToken,
        now: Timestamp,
    ) -> Result<Audited<IssuedToken>, AuditError> {
        let record = Record::issued(request, &issued, now);
        self.write(&record, Room::All).await?;
        Ok(Audited(issued))
    }

    /// Records that a token was refused.
    ///
    /// # Guarantees
    /// However many are refused, half of the room for what waits to be written is left to what is issued. While
    /// nothing takes the records nobody waits for this one: it is written with the others when something does.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn denied(
        &self,
        request: &RequestId,
        subject: &Subject,
        name: &TokenName,
        code: Code,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        let record = Record::denied(request, subject, name, code, now);
        self.write(&record, Room::Half).await
    }

    /// Records that a pod revoked a token of its own.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn revoked(
        &self,
        request: &RequestId,
        subject: &Subject,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        let record = Record::revoked(request, subject, id, now);
        self.write(&record, Room::All).await
    }

    /// Whether there is room for the record of a token that is yet to be made, and somebody who takes it.
    ///
    /// # Errors
    /// [`AuditError::Full`], [`AuditError::Stalled`]
    pub fn has_room(&self) -> Result<(), AuditError> {
        self.0.has_room()
    }

    async fn write(&self, record: &Record<'_>, room: Room) -> Result<(), AuditError> {
        let mut line = Vec::with_capacity(USUAL_LINE);
        serde_json::to_writer(&mut line, record).map_err(AuditError::EncodeRecord)?;
        line.push(b'\n');
        self.0.append(&line, room).await
    }
}

/// Most records are written without moving them.
const USUAL_LINE: usize = 1024;

#[cfg(test)]
pub(crate) mod tests;
