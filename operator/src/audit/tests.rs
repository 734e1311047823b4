use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::issuer::{
    fixture::{ApiServer, PLANTED, START, TOKEN_PATH, grant, mint, now, soon, subject},
    kubernetes::{Minter, OperatorId},
};

/// A stream that can be looked at, and that fails when told to.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<(Vec<u8>, Option<usize>)>>);

impl Lines {
    /// Takes that many bytes more, then fails.
    pub(crate) fn fail_after(&self, bytes: usize) {
        self.0.lock().unwrap().1 = Some(bytes);
    }

    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().1 = None;
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        let taken = match inner.1 {
            Some(0) => return Err(io::ErrorKind::BrokenPipe.into()),
            Some(most) => bytes.len().min(most),
            None => bytes.len(),
        };
        inner.1 = inner.1.map(|most| most - taken);
        inner.0.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Audit {
    /// One that has no room for any record.
    pub(crate) fn full() -> Self {
        Self(Stream::full())
    }
}

async fn issued() -> IssuedToken {
    let server = ApiServer::default().on(TOKEN_PATH, mint);
    let operator = OperatorId {
        namespace: "h".into(),
        name: "h".into(),
    };
    let minter = Minter::new(server.client(), operator, crate::telemetry::Metrics::new());
    minter.mint(&grant(), now(), soon()).await.unwrap()
}

#[tokio::test]
async fn an_issued_token_has_one_line_with_its_hash_and_without_itself() {
    let lines = Lines::default();
    let id = RequestId::random();
    let audited = Audit::new(lines.clone())
        .record(&id, issued().await, now())
        .await
        .unwrap();
    assert!(!format!("{audited:?}").contains(PLANTED), "{audited:?}");
    let wire = audited.into_wire();
    let text = lines.text();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.contains(PLANTED), "{text}");
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(wire.token.expose()));
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        record,
        json!({
            "time": now().to_string(),
            "event": "TokenIssued",
            "request.id": id.as_str(),
            "policy": "shop/policy",
            "subject": {
                "namespace": "shop", "service_account": "orders", "service_account_uid": "uid-shop-orders",
                "pod": "orders-0", "pod_uid": "uid-shop-orders-0",
            },
            "token.name": "vault",
            "grant.audience": "https://vault.example",
            "token.id": "b5c4d1c0-token-id",
            "token.sha256": hash,
            "expires_at": Timestamp::from_second(START + 3600).unwrap().to_string(),
        })
    );
}

#[tokio::test]
async fn a_refusal_has_a_line_with_its_code() {
    let lines = Lines::default();
    let name = TokenName::parse("queue").unwrap();
    let audit = Audit::new(lines.clone());
    audit
        .denied(
            &RequestId::random(),
            &subject(),
            &name,
            Code::NoPolicy,
            now(),
        )
        .await
        .unwrap();
    let record: Value = serde_json::from_str(&lines.text()).unwrap();
    assert_eq!(record["event"], "TokenDenied");
    assert_eq!(record["token.name"], "queue");
    assert_eq!(record["denial.code"], "NoPolicy");
    assert_eq!(record["subject"]["pod"], "orders-0");
}

#[tokio::test]
async fn without_a_record_there_is_no_token() {
    let lines = Lines::default();
    lines.fail_after(20);
    let lost = Audit::new(lines.clone())
        .record(&RequestId::random(), issued().await, now())
        .await;
    assert!(matches!(lost, Err(AuditError::WriteRecord(_))), "{lost:?}");
    assert!(!format!("{lost:?}").contains(PLANTED));
}

#[tokio::test]
async fn a_line_that_broke_off_spoils_no_other() {
    let lines = Lines::default();
    let audit = Audit::new(lines.clone());
    lines.fail_after(20);
    let name = TokenName::parse("vault").unwrap();
    let deny = async || {
        audit
            .denied(
                &RequestId::random(),
                &subject(),
                &name,
                Code::NoPolicy,
                now(),
            )
            .await
    };
    assert!(matches!(deny().await, Err(AuditError::WriteRecord(_))));
    lines.heal();
    deny().await.unwrap();
    let text = lines.text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "TokenDenied", "{text}");
}

#[tokio::test]
async fn a_control_character_makes_no_second_line() {
    let lines = Lines::default();
    let mut claims = crate::issuer::fixture::claims(&json!({
        "metadata": {"uid": "uid-shop-orders"},
        "spec": {
            "audiences": ["https://vault.example"], "expirationSeconds": 3600,
            "boundObjectRef": {"name": "orders-0", "uid": "uid-shop-orders-0"},
        },
    }));
    claims["jti"] = "a\nb\u{1b}[31m".into();
    let expires = START + 3600;
    let server = ApiServer::default().on(TOKEN_PATH, move |_| {
        crate::issuer::fixture::answer(claims.clone(), expires)
    });
    let operator = OperatorId {
        namespace: "h".into(),
        name: "h".into(),
    };
    let minter = Minter::new(server.client(), operator, crate::telemetry::Metrics::new());
    let issued = minter.mint(&grant(), now(), soon()).await.unwrap();
    Audit::new(lines.clone())
        .record(&RequestId::random(), issued, now())
        .await
        .unwrap();
    let text = lines.text();
    assert_eq!(
        text.chars().filter(|c| c.is_control()).collect::<String>(),
        "\n",
        "{text:?}"
    );
}

#[test]
fn request_ids_are_random() {
    let (a, b) = (RequestId::random(), RequestId::random());
    assert_ne!(a.as_str(), b.as_str());
    assert_eq!(a.as_str().len(), 32);
}
