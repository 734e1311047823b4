//! B14: all sidecars of a node, or of many, are killed at once and begin anew.

use anyhow::Result;

use crate::{
    alone::Alone,
    crowd::{Crowd, Roots},
    kernel::Memory,
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
    let warm = roots.start(0..scale.sidecars)?;
    let served = roots.served(&warm).await?;
    let last = (served.last.as_secs_f64(), "s");
    report.add("B14", "last token, warm caches", last, &conditions);
    report.bar(Bar::Value(2.0));
    drop(warm);
    roots.wipe()?;
    let wiped = roots.start(0..scale.sidecars)?;
    let served = roots.served(&wiped).await?;
    let last = (served.last.as_secs_f64(), "s");
    report.add("B14", "last token, wiped caches", last, &conditions);
    report.bar(Bar::Value(10.0));
    let resident = (Memory::of(alone.pid()?)?.resident, "MiB");
    report.add(
        "B14",
        "operator after both, resident",
        resident,
        &conditions,
    );
    Ok(())
}
