//! Makes a failing plan smaller for as long as it fails: faults first, then batches, then commands.

use super::judge;
use super::plan::{Hazards, Perils, Plan, Weather};
use crate::batch::Wrap;
use crate::config::Throttle;
use crate::connection::state::Listening;

/// Rounds in which something may still become smaller; each tries every part once.
const ROUNDS: usize = 4;

/// `broken` is what the plan breaks; what the smaller one does may be another promise.
pub(super) fn shrink(mut plan: Plan, mut broken: String) -> (Plan, String) {
    for _ in 0..ROUNDS {
        let before = broken.clone();
        for smaller in candidates(&plan) {
            // One at a time, applied to what has become of the plan meanwhile.
            let mut next = plan.clone();
            smaller(&mut next);
            if let Err(now) = judge(&next) {
                plan = next;
                broken = now;
            }
        }
        if broken == before {
            break;
        }
    }
    (plan, broken)
}

type Smaller = Box<dyn Fn(&mut Plan)>;

fn candidates(plan: &Plan) -> Vec<Smaller> {
    let mut candidates: Vec<Smaller> = Vec::new();
    // From the back, so that the places of those in front stay.
    for at in (0..plan.troubles.len()).rev() {
        candidates.push(Box::new(move |plan| {
            plan.troubles.remove(at);
        }));
    }
    for at in 0..plan.hazards.len() {
        candidates.push(Box::new(|plan| {
            plan.hazards.pop();
        }));
        let parts: [fn(&mut Hazards); 5] = [
            |hazards| *hazards = Hazards::default(),
            |hazards| hazards.up = Perils::default(),
            |hazards| hazards.down = Perils::default(),
            |hazards| hazards.tail = 0,
            |hazards| hazards.jam = None,
        ];
        for part in parts {
            candidates.push(Box::new(move |plan| {
                if let Some(hazards) = plan.hazards.get_mut(at) {
                    part(hazards);
                }
            }));
        }
    }
    candidates.push(Box::new(|plan| {
        plan.weather = Weather {
            latency: 1,
            grain: usize::MAX,
            capacity: usize::MAX,
            turn: usize::MAX,
        };
    }));
    candidates.push(Box::new(|plan| plan.options.reconnect_every = 0));
    candidates.push(Box::new(|plan| plan.options.stop_after = None));
    candidates.push(Box::new(|plan| plan.options.listening = Listening::No));
    candidates.push(Box::new(|plan| plan.options.throttle = Throttle::default()));
    for at in 0..plan.batches.len() {
        candidates.push(Box::new(move |plan| {
            if let Some(batch) = plan.batches.get_mut(at) {
                batch.wrap = Wrap::AsConfigured;
            }
        }));
    }
    // Tags count from 0 without a gap, so that only the last may go.
    for _ in 0..plan.batches.len() {
        candidates.push(Box::new(|plan| {
            plan.batches.pop();
        }));
    }
    for _ in 0..plan.batches.last().map_or(0, |batch| batch.commands.len()) {
        candidates.push(Box::new(|plan| {
            if let Some(batch) = plan.batches.last_mut()
                && batch.commands.len() > 1
            {
                batch.commands.pop();
            }
        }));
    }
    candidates
}
