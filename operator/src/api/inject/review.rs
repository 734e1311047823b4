//! The AdmissionReview (admission.k8s.io/v1): what of it is read, and its answers.

use base64::{Engine, engine::general_purpose::STANDARD};
use hallpass_core::denial::Code;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    inject::{Cause, Denial, Patch, Pod},
    issue::refusal::Refusal,
};

/// What is asked: about a new pod of a namespace.
#[derive(Debug)]
pub(super) struct Review {
    pub(super) namespace: String,
    pub(super) pod: Pod,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: &'a RawValue,
}

#[derive(Deserialize)]
struct Named {
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource: Resource,
    sub_resource: Option<String>,
    operation: String,
    namespace: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize, PartialEq, Eq)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

impl Review {
    /// Reads a review: its uid, and what it asks or why that cannot be answered.
    ///
    /// # Errors
    /// It is no review with a uid: there is nothing to answer to.
    pub(super) fn read(body: &[u8]) -> Result<(String, Result<Self, String>), Refusal> {
        let malformed = |e: serde_json::Error| {
            let text = format!("the body is no AdmissionReview: {e}");
            let text = text.chars().take(LONGEST_FAULT).collect::<String>();
            Refusal::new(Code::MalformedRequest, text)
        };
        let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(malformed)?;
        let named = serde_json::from_str::<Named>(envelope.request.get()).map_err(malformed)?;
        Ok((named.uid, envelope.ask()))
    }
}

impl Envelope<'_> {
    fn ask(&self) -> Result<Review, String> {
        if self.api_version != VERSION || self.kind != KIND {
            return Err(format!("only an {KIND} of {VERSION} is answered"));
        }
        let fault = |what| {
            move |e: serde_json::Error| {
                let text = format!("the {what} of the review cannot be read: {e}");
                text.chars().take(LONGEST_FAULT).collect::<String>()
            }
        };
        let request: Request<'_> =
            serde_json::from_str(self.request.get()).map_err(fault("request"))?;
        let is_pod = request.resource
            == Resource {
                group: String::new(),
                version: "v1".into(),
                resource: "pods".into(),
            };
        let part = request.sub_resource.unwrap_or_default();
        if !is_pod || request.operation != "CREATE" || !part.is_empty() {
            return Err("only the CREATE of a pod (v1) is answered".to_owned());
        }
        Ok(Review {
            namespace: request.namespace,
            pod: serde_json::from_str(request.object.get()).map_err(fault("object"))?,
        })
    }
}

/// The answer to a review.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

/// A `Status` (meta/v1): the API server passes it on to who creates the pod.
#[derive(Debug, Serialize)]
struct Status {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: String,
}

impl Answer {
    /// The pod is to be created with the patch.
    ///
    /// # Errors
    /// None in practice: a patch has a JSON form.
    pub(super) fn patched(uid: String, patch: &Patch) -> Result<Self, Refusal> {
        let patch = super::encode(patch)?;
        Ok(Self::of(Response {
            uid,
            allowed: true,
            patch_type: Some("JSONPatch"),
            patch: Some(STANDARD.encode(patch)),
            status: None,
        }))
    }

    /// The pod is to be created as it is.
    pub(super) fn unchanged(uid: String) -> Self {
        Self::of(Response {
            uid,
            allowed: true,
            ..Response::default()
        })
    }

    /// The pod is not to be created.
    pub(super) fn denied(uid: String, denial: Denial) -> Self {
        let (code, reason) = match denial.cause {
            Cause::Pod => (422, "Invalid"),
            Cause::NoTrust => (503, "ServiceUnavailable"),
        };
        Self::failure(uid, code, reason, denial.message)
    }

    /// The review cannot be answered.
    pub(super) fn bad(uid: String, fault: String) -> Self {
        Self::failure(uid, 400, "BadRequest", fault)
    }

    fn failure(uid: String, code: u16, reason: &'static str, message: String) -> Self {
        Self::of(Response {
            uid,
            allowed: false,
            status: Some(Status {
                status: "Failure",
                code,
                reason,
                message,
            }),
            ..Response::default()
        })
    }

    const fn of(response: Response) -> Self {
        Self {
            api_version: VERSION,
            kind: KIND,
            response,
        }
    }
}

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
const LONGEST_FAULT: usize = 300;
