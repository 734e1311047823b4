//! A pod gives back a token of its own (RFC 7009).

use std::time::Duration;

use anyhow::{Result, ensure};
use hallpass_e2e::{
    guard::Token,
    pod::Answer,
    remark::remark,
    scene::{
        Scene,
        What::{Jwt, Opaque},
        Who::{self, Orders, Stock},
    },
    wait::until,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::within_the_limit;

const WHILE: Duration = Duration::from_secs(20);

async fn give_back(scene: &Scene, replica: usize, who: Who, token: &Token) -> Result<Answer> {
    let fields = [
        "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
        format!("client_assertion={}", scene.identity(who)),
        format!("token={}", token.text),
    ];
    let form = fields.iter().flat_map(|f| ["--data-urlencode", f]);
    let path = format!("{}/oauth2/revoke", token.path);
    let api = &scene.guard.apis[replica];
    api.ask(&form.collect::<Vec<_>>(), &path).await
}

#[tokio::test]
async fn a_pod_gives_back_its_own_token_and_no_other_pods() -> Result<()> {
    let scene = Scene::new("own", 1).await?;
    let mut slowest = Duration::ZERO;
    for (replica, what) in [(0, Jwt), (1, Opaque)] {
        let token = scene.token(replica, Orders, what, "0").await?;
        let neighbours = scene.token(replica, Stock, what, "0").await?;
        scene.guard.accepts("before", &token).await?;
        let id = scene.guard.said(0, &token).await?["jti"].take();
        let id = id.as_str().unwrap_or_default();

        let refused = give_back(&scene, replica, Orders, &neighbours).await?;
        let body = refused.json()?;
        ensure!(
            refused.status == 400
                && (&body["error"], &body["code"])
                    == (&json!("invalid_grant"), &json!("ForeignToken")),
            "{refused:?}"
        );

        let answer = give_back(&scene, replica, Orders, &token).await?;
        let since = Instant::now();
        ensure!((answer.status, &*answer.body) == (200, ""), "{answer:?}");
        let took = scene.guard.refused("given back", &token, since).await?;
        within_the_limit("given back", took)?;
        slowest = slowest.max(took);
        let name = format!("token-{id}");
        let args = ["get", "tokenrevocations.hallpass.dev", &name, "-o", "json"];
        let stored: Value = serde_json::from_str(&scene.shop.kubectl(&args).await?.success()?)?;
        assert_eq!(stored["spec"]["target"], json!({"tokenID": id}));
        assert_eq!(stored["spec"]["ttlSecondsAfterExpired"], 0);

        // again is as good as once, and the other pod's is left alone
        let again = give_back(&scene, 1 - replica, Orders, &token).await?;
        ensure!(again.status == 200, "{again:?}");
        scene.guard.accepts("another pod's", &neighbours).await?;
        let new = until(WHILE, "another one", || {
            scene.token(1 - replica, Orders, what, "0")
        });
        scene.guard.accepts_soon("another one", &new.await?).await?;
    }
    remark(&format!(
        "a token that was given back is refused by both replicas {} ms after the answer at the latest of 2 times",
        slowest.as_millis()
    ));
    Ok(())
}
