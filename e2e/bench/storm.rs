//! B14: all sidecars of a node, or of many, are killed at once and begin anew.

use anyhow::Result;

use crate::{
    alone::Alone,
    crowd::{Crowd, Roots, Served},
    kernel::{Memory, Peak},
    report::{Bar, Report},
    scale::Scale,
};

/// Kills the crowd, and starts it with what it has kept, and without.
pub(crate) async fn measure(
    report: &mut Report,
    alone: &Alone,
    (roots, crowd): (&Roots, Crowd),
    scale: &Scale,
) -> Result<()> {
    let conditions = format!(
        "{} real processes and the operator on two cores; from the first start to the last token of all, read from the sockets",
        scale.sidecars
    );
    drop(crowd);
    let pid = alone.pid()?;
    let peak = Peak::from_now_on(pid)?;
    let warm = roots.start(0..scale.sidecars)?;
    let served = roots.served(&warm).await?;
    tell(report, "warm caches", (&served, 2.0), &conditions);
    drop(warm);
    roots.wipe()?;
    let wiped = roots.start(0..scale.sidecars)?;
    let served = roots.served(&wiped).await?;
    tell(report, "wiped caches", (&served, 10.0), &conditions);
    let peak = (peak.resident()?, "MiB");
    report.add("B14", "operator through both, peak", peak, &conditions);
    report.bar(Bar::Value(64.0));
    let resident = (Memory::of(pid)?.resident, "MiB");
    report.add(
        "B14",
        "operator after both, resident",
        resident,
        &conditions,
    );
    Ok(())
}

/// Who asks before a token is there asks again, and that is no failure; who is hung up on was failed.
fn tell(report: &mut Report, caches: &str, (served, most): (&Served, f64), conditions: &str) {
    let last = (served.last.as_secs_f64(), "s");
    report.add("B14", &format!("last token, {caches}"), last, conditions);
    report.bar(Bar::Value(most));
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let (refused, broken) = (served.refused as f64, served.broken as f64);
    let metric = format!("asks answered with \"not yet\", {caches}");
    report.add("B14", &metric, (refused, ""), conditions);
    let metric = format!("asks hung up on, {caches}");
    report.add("B14", &metric, (broken, ""), conditions);
    report.bar(Bar::Value(0.0));
}
