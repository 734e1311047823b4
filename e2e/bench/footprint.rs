//! What the operator keeps: its memory after many tokens, with many revocations in force.

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use crate::{
    load::Target,
    operator::Operator,
    pod::resident_kb,
    report::{Bar, Report},
    scale::Scale,
    world::{PODS_IN_ALL, TOKENS},
};

/// Has the replica issue what is left of the tokens, and looks at its memory.
pub(crate) fn measure(
    report: &mut Report,
    operator: &Operator,
    issuing: &Arc<Target>,
    (scale, world): (&Scale, &str),
) -> Result<()> {
    let left = scale.tokens.saturating_sub(issuing.count());
    if left > 0 {
        // every token of every pod once in ten seconds, which is what a replica allows, and no faster
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        let (each, left) = ((PODS_IN_ALL * (TOKENS - 1)) as f64, left as f64);
        let rate = each / 10.5;
        issuing.many(rate, Duration::from_secs_f64(left / rate))?;
    }
    let how = format!(
        "VmRSS of the replica that holds the lease, with one worker thread, after {} tokens: {world}",
        issuing.count()
    );
    let resident = (resident_kb(operator.pid)? / 1024.0, "MiB");
    report.add("resident", "operator after issuing", resident, &how);
    report.bar(Bar::Value(64.0));
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    for (metric, count) in [
        ("tokens issued by then", issuing.count() as f64),
        ("revocations in force", scale.revocations as f64),
    ] {
        report.add("resident", metric, (count, ""), &how);
    }
    Ok(())
}
