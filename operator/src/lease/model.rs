//! Candidates whose messages are late, lost or answered in vain, whose programs are stopped for
//! minutes, and whose clocks run at different speeds.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use super::candidate::{Candidate, DURATION, Record, Step};

#[derive(Debug, Clone, Copy)]
enum Doing {
    Idle,
    /// Asked at this time of the own clock; the answer holds the version.
    Reading,
    Writing {
        sent: Instant,
        version: u64,
        transitions: i32,
    },
}

struct Replica {
    candidate: Candidate,
    doing: Doing,
    /// In thousandths of the true speed.
    speed: u64,
    next: u64,
}

struct World {
    epoch: Instant,
    version: u64,
    record: Record,
    replicas: Vec<Replica>,
}

impl World {
    fn new(speeds: &[u64]) -> Self {
        let replica = |(i, speed): (usize, &u64)| Replica {
            candidate: Candidate::new(format!("replica-{i}")),
            doing: Doing::Idle,
            speed: *speed,
            next: 0,
        };
        Self {
            epoch: Instant::now(),
            version: 0,
            record: Record::from(&Lease::default()),
            replicas: speeds.iter().enumerate().map(replica).collect(),
        }
    }

    /// The replica's own clock at the true time, in milliseconds.
    fn clock(&self, replica: usize, time: u64) -> Instant {
        let own = time * self.replicas[replica].speed / 1000;
        self.epoch + Duration::from_millis(own)
    }

    /// One replica does what is next. `delay` is until it does something again, `lost` whether
    /// an answer is lost after the server has done its part.
    fn act(&mut self, i: usize, time: u64, delay: u64, lost: bool) {
        let now = self.clock(i, time);
        let (version, record) = (self.version, self.record.clone());
        let replica = &mut self.replicas[i];
        replica.next = time + delay;
        match replica.doing {
            Doing::Idle => replica.doing = Doing::Reading,
            Doing::Reading => {
                replica.doing = Doing::Idle;
                if lost {
                    return;
                }
                replica.candidate.see(record, now);
                if let Step::Hold { transitions } = replica.candidate.step(now) {
                    let sent = now;
                    replica.doing = Doing::Writing {
                        sent,
                        version,
                        transitions,
                    };
                }
            }
            Doing::Writing {
                sent,
                version: read,
                transitions,
            } => {
                replica.doing = Doing::Idle;
                if read != version {
                    return;
                }
                self.version += 1;
                self.record = Record {
                    holder: Some(replica.candidate.identity().to_owned()),
                    duration: DURATION,
                    transitions,
                    renewed: Timestamp::from_millisecond(i64::try_from(time).unwrap()).ok(),
                };
                if !lost {
                    replica.candidate.see(self.record.clone(), now);
                    replica.candidate.hold(sent, Duration::ZERO);
                }
            }
        }
    }

    fn leaders(&self, time: u64) -> usize {
        (0..self.replicas.len())
            .filter(|&i| self.replicas[i].candidate.leads(self.clock(i, time)))
            .count()
    }
}

proptest! {
    #[test]
    fn there_are_never_two_leaders(
        speeds in vec(850u64..1150, 3),
        acts in vec((0u64..20, 0u64..6_000, any::<bool>()), 300..600),
    ) {
        let mut world = World::new(&speeds);
        let mut led = 0;
        for (kind, delay, lost) in acts {
            let next = (0..3).min_by_key(|&i| world.replicas[i].next).unwrap();
            let time = world.replicas[next].next;
            // Now and then a program stands still, in the middle of whatever it does.
            let delay = if kind == 0 { delay * 10 } else { delay };
            world.act(next, time, delay.max(1), lost && kind < 5);
            // The end of a tenure lies between two acts, so every moment until the next counts.
            let until = world.replicas.iter().map(|r| r.next).min().unwrap();
            for moment in (time..=until).step_by(97) {
                let leaders = world.leaders(moment);
                prop_assert!(leaders <= 1, "{leaders} leaders at {moment} ms");
                led += leaders;
            }
        }
        prop_assert!(led > 0, "nobody ever led: the model is too hostile to say anything");
    }
}
