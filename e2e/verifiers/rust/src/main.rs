//! The snippet of docs/verifying.md, as it stands: ../documented puts it beside this file.

use std::{env, error::Error, io};

mod snippet;

fn main() -> Result<(), Box<dyn Error>> {
    let (verifier, scope) = (snippet::Verifier::new()?, env::var("SCOPE")?);
    for line in io::stdin().lines() {
        let verdict = match verifier.verify(line?.trim(), &scope) {
            Ok(claims) => serde_json::json!({"accepted": true, "claims": claims}),
            Err(why) => serde_json::json!({"accepted": false, "error": why.to_string()}),
        };
        println!("{verdict}");
    }
    Ok(())
}
