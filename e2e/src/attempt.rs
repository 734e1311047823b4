//! What the API server says to a request in somebody's name. Nothing is stored.

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request};
use kube::client::Body;
use serde_json::Value;

use crate::{cluster::Cluster, create::Verdict};

/// In whose name something is asked. Everybody who has a name is in `system:authenticated`.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The name.
    pub user: &'a str,
    /// Further groups.
    pub groups: &'a [&'a str],
}

/// A request.
#[derive(Debug, Clone)]
pub struct Attempt {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// What a request is to RBAC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// What is done.
    pub verb: &'static str,
    /// The group; empty for the core.
    pub group: String,
    /// The resource, with its subresource behind a slash.
    pub resource: String,
}

impl Attempt {
    /// Reads what is at that path.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// Deletes it.
    #[must_use]
    pub fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    /// Creates an object in that collection.
    #[must_use]
    pub fn post(path: &str, object: Value) -> Self {
        Self::new(Method::POST, path, Some(object))
    }

    /// Changes what is at that path, by a merge patch (RFC 7386).
    #[must_use]
    pub fn patch(path: &str, patch: Value) -> Self {
        Self::new(Method::PATCH, path, Some(patch))
    }

    fn new(method: Method, path: &str, body: Option<Value>) -> Self {
        Self {
            method,
            path: path.to_owned(),
            body,
        }
    }

    /// The right that it takes.
    ///
    /// # Errors
    /// It is to no resource.
    pub fn right(&self) -> Result<Right> {
        let mut parts = self.path.trim_start_matches('/').split('/');
        let group = match parts.next() {
            Some("api") => String::new(),
            Some("apis") => parts.next().context("a group")?.to_owned(),
            other => bail!("{other:?} leads to no resource"),
        };
        parts.next().context("a version")?;
        let rest: Vec<_> = parts.collect();
        let rest = match rest.as_slice() {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let resource = match rest {
            [resource] | [resource, _] => (*resource).to_owned(),
            [resource, _, below] => format!("{resource}/{below}"),
            other => bail!("{other:?} is no resource"),
        };
        let verb = match self.method.as_str() {
            "GET" => "get",
            "POST" => "create",
            "PATCH" => "patch",
            "DELETE" => "delete",
            other => bail!("{other} is not tried"),
        };
        Ok(Right {
            verb,
            group,
            resource,
        })
    }

    /// What is sent, so that nothing is stored.
    fn request(&self, who: Caller<'_>) -> Result<Request<Vec<u8>>> {
        let mut path = self.path.clone();
        let mut request = Request::builder();
        if self.method != Method::GET {
            path.push_str("?dryRun=All");
        }
        let content = match self.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        request = request.method(&self.method).uri(path);
        request = request.header("Content-Type", content);
        request = request.header("Impersonate-User", who.user);
        for group in who.groups.iter().chain(&["system:authenticated"]) {
            request = request.header("Impersonate-Group", *group);
        }
        let body = self.body.as_ref().map(Value::to_string);
        Ok(request.body(body.unwrap_or_default().into_bytes())?)
    }
}

impl Cluster {
    /// Has the API server judge that request in the name of somebody.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn attempt(&self, who: Caller<'_>, attempt: &Attempt) -> Result<Verdict> {
        match self.client.request(attempt.request(who)?).await {
            Ok(object) => Ok(Verdict::Accepted(object)),
            Err(kube::Error::Api(status)) => Ok(Verdict::Refused(status)),
            Err(why) => Err(why).context("ask the API server"),
        }
    }

    /// The warnings beside the refusal of that request. What a policy has against it is among them where a binding asks
    /// for warnings, whoever refuses it first.
    ///
    /// # Errors
    /// It was not refused, or there was no answer.
    pub async fn warnings(&self, who: Caller<'_>, attempt: &Attempt) -> Result<Vec<String>> {
        let request = attempt.request(who)?.map(Body::from);
        let answer = self.client.send(request).await;
        let answer = answer.context("ask the API server")?;
        let (status, headers) = (answer.status(), answer.headers());
        ensure!(status.is_client_error(), "not refused: {status}");
        let warnings = headers.get_all("Warning").iter();
        warnings
            .map(|warning| Ok(warning.to_str()?.to_owned()))
            .collect()
    }
}

impl Verdict {
    /// The object, which may hold a secret: it is not told where this fails.
    ///
    /// # Errors
    /// It was refused; with what the API server said.
    pub fn allowed(self) -> Result<Value> {
        match self {
            Self::Accepted(object) => Ok(object),
            Self::Refused(status) => bail!("refused: {}", status.message),
        }
    }

    /// Refused by RBAC, before anybody looked at the object.
    ///
    /// # Errors
    /// It was allowed, or refused by somebody else.
    pub fn without_right(self, right: &Right) -> Result<()> {
        let status = self.refusal()?;
        // a subresource is told as it is written in a rule
        let cannot = format!("cannot {} resource \"{}\"", right.verb, right.resource);
        ensure!(
            status.code == 403 && status.message.contains(&cannot),
            "not refused because {cannot}: {}",
            status.message
        );
        Ok(())
    }

    /// Refused by that admission policy, with these words.
    ///
    /// # Errors
    /// It was allowed, or refused by somebody else.
    pub fn against_policy(self, policy: &str, why: &str) -> Result<()> {
        let status = self.refusal()?;
        let by = format!("ValidatingAdmissionPolicy '{policy}'");
        ensure!(
            status.message.contains(&by) && status.message.contains(why),
            "not refused by {policy} because {why}: {}",
            status.message
        );
        Ok(())
    }

    fn refusal(self) -> Result<Box<kube::core::Status>> {
        match self {
            Self::Refused(status) => Ok(status),
            Self::Accepted(_) => bail!("it was allowed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_to_rbac_what_its_path_says() {
        let right = |attempt: Attempt| attempt.right().unwrap();
        let of = |verb, group: &str, resource: &str| Right {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
        };
        assert_eq!(
            right(Attempt::post(
                "/api/v1/namespaces/a/serviceaccounts/b/token",
                Value::Null
            )),
            of("create", "", "serviceaccounts/token")
        );
        assert_eq!(
            right(Attempt::delete(
                "/apis/hallpass.dev/v1alpha1/tokenissuers/a"
            )),
            of("delete", "hallpass.dev", "tokenissuers")
        );
        assert_eq!(
            right(Attempt::get("/api/v1/namespaces/a")),
            of("get", "", "namespaces")
        );
        let (path, nothing) = ("/openid/v1/jwks", "leads to no resource");
        let error = Attempt::get(path).right().unwrap_err().to_string();
        assert!(error.contains(nothing), "{error}");
    }
}
