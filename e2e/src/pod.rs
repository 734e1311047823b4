//! What is seen of a pod: from inside one of its containers, and from outside by kubectl.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;

use crate::{
    cluster::Cluster,
    command::Said,
    wait::{not_yet, until},
};

/// An answer of the socket as curl saw it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {}", self.body))
    }

    /// The `code` of a problem document.
    ///
    /// # Errors
    /// It is none.
    pub fn code(&self) -> Result<String> {
        Ok(self.json()?["code"].as_str().context("no code")?.to_owned())
    }
}

impl Cluster {
    /// Creates the pod and waits until its containers run.
    ///
    /// # Errors
    /// It was refused, or does not start within 60 s.
    pub async fn start(&self, pod: &crate::manifest::Manifest) -> Result<String> {
        self.apply(&pod.to_string()).await?;
        let name = pod.json()["metadata"]["name"]
            .as_str()
            .context("a pod has a name")?
            .to_owned();
        self.running(&name, Duration::from_secs(60)).await?;
        Ok(name)
    }

    /// Waits until the pod's containers run.
    ///
    /// # Errors
    /// They do not within that time; with the pod's status.
    pub async fn running(&self, pod: &str, within: Duration) -> Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        until(within, &format!("pod {pod} runs"), || async {
            let pod = pods.get(pod).await?;
            let status = pod.status.clone().unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            if conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
            {
                Ok(pod)
            } else {
                Err(not_yet((
                    status.phase,
                    status.init_container_statuses,
                    status.container_statuses,
                )))
            }
        })
        .await
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// kubectl could not be run.
    pub async fn exec(&self, pod: &str, container: &str, command: &[&str]) -> Result<Said> {
        self.kubectl(&[&["exec", pod, "-c", container, "--"], command].concat())
            .await
    }

    /// `GET path` on the socket, by curl in the container.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn get(&self, pod: &str, container: &str, path: &str) -> Result<Answer> {
        self.ask(pod, container, &[], path).await
    }

    /// A request on the socket with further arguments for curl.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn ask(
        &self,
        pod: &str,
        container: &str,
        curl: &[&str],
        path: &str,
    ) -> Result<Answer> {
        let url = format!("http://hallpass{path}");
        let socket = "/var/run/hallpass/hallpass.sock";
        let fixed = [
            "curl",
            "-sS",
            "-m",
            "20",
            "-w",
            "\n%{http_code}",
            "--unix-socket",
            socket,
        ];
        let said = self
            .exec(pod, container, &[&fixed, curl, &[&url]].concat())
            .await?
            .success()?;
        let (body, status) = said.rsplit_once('\n').context("curl printed no status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// The token of that name, as the container reads it on the socket.
    ///
    /// # Errors
    /// The answer is not 200.
    pub async fn token(&self, pod: &str, container: &str, name: &str) -> Result<Value> {
        let answer = self
            .get(pod, container, &format!("/v1/tokens/{name}"))
            .await?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        answer.json()
    }

    /// Waits for a token on the socket.
    ///
    /// # Errors
    /// There is none within that time.
    pub async fn token_within(
        &self,
        within: Duration,
        pod: &str,
        container: &str,
        name: &str,
    ) -> Result<Value> {
        until(within, &format!("token {name} in {pod}"), || {
            self.token(pod, container, name)
        })
        .await
    }
}
