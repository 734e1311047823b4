//! B4: when pods that all started at once come for their next tokens, over a day that is computed and not waited
//! for: by the rule of the sidecar, and by the kubelet's.

use std::time::Duration;

use hallpass_core::lifetime::{refresh_after, retry_after};

use crate::report::{Bar, Report};

const PODS: u32 = 10_000;
const LIFE: Duration = Duration::from_secs(3600);
const HOURS: usize = 24;
const DAY: Duration = Duration::from_secs(HOURS as u64 * 3600);
/// The part of the tries that fail.
const FAIL: f64 = 0.01;
/// Another one gives other figures, of the same kind.
const SEED: u64 = 4;
const CONDITIONS: &str = "computed: 10,000 pods that start at once, one token of 1 h each, 24 h, every hundredth try fails, seed 4; \
     mean = tries of the day / bins of the day; the fetch at the start is not counted";
const PEER: &str = "the kubelet's rule for its files";

/// The tries that came in each second of the day.
struct Day {
    seconds: Vec<u32>,
    lost: u32,
}

pub(crate) fn measure(report: &mut Report) {
    let (ours, theirs) = (Day::of(sidecar), Day::of(kubelet));
    for (metric, bin, hours) in [
        ("peak / mean, 60 s bins, first hour", 60, 0..1),
        ("peak / mean, 60 s bins, worst later hour", 60, 1..HOURS),
        ("peak / mean, 10 s bins, first hour", 10, 0..1),
        ("peak / mean, 10 s bins, worst later hour", 10, 1..HOURS),
    ] {
        let peak = |day: &Day| {
            let peaks = hours.clone().map(|hour| day.peak(bin, hour));
            peaks.fold(0.0, f64::max) / day.mean(bin)
        };
        report.add("B4", metric, (peak(&ours), ""), CONDITIONS);
        report.beside(PEER, peak(&theirs));
        if bin == 60 {
            report.bar(Bar::Value(1.6));
        }
    }
    let own = |day: &Day| day.peak(60, 0) / day.mean_of(60, 0);
    let metric = "the same, by the first hour's own mean";
    report.add("B4", metric, (own(&ours), ""), CONDITIONS);
    report.beside(PEER, own(&theirs));
    let each = |day: &Day| f64::from(day.seconds.iter().sum::<u32>()) / f64::from(PODS);
    report.add(
        "B4",
        "tries of a pod in a day",
        (each(&ours), ""),
        CONDITIONS,
    );
    report.beside(PEER, each(&theirs));
    let lost = (f64::from(ours.lost), "");
    report.add("B4", "tokens that ended before the next", lost, CONDITIONS);
    report.beside(PEER, f64::from(theirs.lost));
}

impl Day {
    fn of(pod: fn(&mut Random, &mut Self)) -> Self {
        let mut day = Self {
            seconds: vec![0; HOURS * 3600],
            lost: 0,
        };
        let mut random = Random(SEED);
        for _ in 0..PODS {
            pod(&mut random, &mut day);
        }
        day
    }

    /// Counts a try, if it is of this day.
    fn count(&mut self, at: Duration) {
        let second = usize::try_from(at.as_secs()).ok();
        if let Some(count) = second.and_then(|second| self.seconds.get_mut(second)) {
            *count += 1;
        }
    }

    /// The most in a bin of that many seconds within that hour.
    fn peak(&self, bin: usize, hour: usize) -> f64 {
        let bins = self.hour(hour).chunks(bin);
        f64::from(bins.map(|bin| bin.iter().sum()).max().unwrap_or(0))
    }

    fn mean(&self, bin: usize) -> f64 {
        mean(&self.seconds, bin)
    }

    fn mean_of(&self, bin: usize, hour: usize) -> f64 {
        mean(self.hour(hour), bin)
    }

    fn hour(&self, hour: usize) -> &[u32] {
        &self.seconds[hour * 3600..(hour + 1) * 3600]
    }
}

fn mean(seconds: &[u32], bin: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the seconds of a day")]
    let bins = seconds.len() as f64 / bin as f64;
    f64::from(seconds.iter().sum::<u32>()) / bins
}

/// A pod's day with the sidecar.
fn sidecar(random: &mut Random, day: &mut Day) {
    let (mut issued, mut first) = (Duration::ZERO, true);
    while issued < DAY {
        let (mut at, ends) = (
            issued + refresh_after(LIFE, first, random.next()),
            issued + LIFE,
        );
        let (window, mut failures) = (ends.checked_sub(at), 0);
        day.count(at);
        while random.next() < FAIL {
            failures += 1;
            at += retry_after(failures, window, random.next());
            day.count(at);
        }
        day.lost += u32::from(at > ends);
        (issued, first) = (at, false);
    }
}

/// A pod's day with the kubelet alone: each time the pod is synced it is looked whether four fifths of the life
/// have passed, or somewhat less (`pkg/kubelet/token/token_manager.go`, `requiresRefresh`; `maxTTL` is 24 h, which
/// no token here lives). A failed try is followed by one at the next sync.
fn kubelet(random: &mut Random, day: &mut Day) {
    let (mut issued, mut at) = (Duration::ZERO, Duration::ZERO);
    while at < DAY {
        // `resyncInterval` and `workerResyncIntervalJitterFactor` of pkg/kubelet
        at += Duration::from_secs(60).mul_f64(1.0 + 0.5 * random.next());
        // whole seconds, `maxJitter` is 10 s
        let jitter = Duration::from_secs((random.next() * 10.0) as u64);
        if at <= issued + LIFE * 4 / 5 - jitter {
            continue;
        }
        day.count(at);
        if random.next() >= FAIL {
            day.lost += u32::from(at > issued + LIFE);
            issued = at;
        }
    }
}

/// Numbers that are the same each time: `SplitMix64`.
struct Random(u64);

impl Random {
    /// Uniform in `0.0..1.0`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        unit
    }
}
