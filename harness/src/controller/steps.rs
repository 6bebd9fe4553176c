//! The steps' part of a run: each is recorded, begun when it is due, and ends in a task of its own that
//! reports back.

use anyhow::anyhow;
use usurper_history::{Body, Effect, FaultRecord, HarnessEvent, Outcome, Phase, Record, Trigger};
use usurper_nemesis::{Act, Due, Hit, Needs, Resolved, Step};

use super::{Controller, Incoming};
use crate::{
    act::{self, Ended},
    failure::Failure,
    machine::Aspect,
};

impl Controller<'_> {
    /// Begins the steps whose time has come.
    pub(super) fn begin_due(&mut self) -> Result<(), Failure> {
        for due in self.scheduler.due(self.clock.now_ns()) {
            let Due { index, step, trigger, resolved } = due;
            self.begun.insert(index);
            if step.track.is_none() {
                self.begun_ns = self.clock.now_ns();
            }
            self.begin(Some(index), &step, trigger, resolved)?;
        }
        Ok(())
    }

    /// Begins one step: records it, then does it in a task that reports its end.
    pub(super) fn begin(
        &mut self,
        index: Option<usize>,
        step: &Step,
        trigger: Option<Trigger>,
        resolved: Result<Resolved, String>,
    ) -> Result<(), Failure> {
        self.steps_begun += 1;
        let info = step.fault.info();
        let asked = resolved.clone().unwrap_or_default();
        let (nodes, misfit) = step.fault.fitting(&asked.nodes, self);
        let on_links = info.needs == Needs::Links || step.effect() == Effect::Cut;
        let no_link =
            (on_links && asked.links.is_empty()).then(|| "there is no such link".to_owned());
        let unable = self.plan.skip.get(&step.fault).cloned();
        let reason = unable.or(resolved.err()).or(misfit).or(no_link);
        let record = FaultRecord {
            id: self.steps_begun,
            phase: Phase::Begin,
            fault: info.name.to_owned(),
            effect: step.effect(),
            aspect: step.fault.aspect().map(str::to_owned),
            nodes: if reason.is_some() { asked.nodes } else { nodes.clone() },
            links: asked.links.clone(),
            args: act::args(step),
            trigger,
            outcome: None,
            acted: None,
            proof: None,
            reason: None,
        };
        self.steps_open += 1;
        let waits_for = match (self.plan.skip.get(&step.fault), &reason) {
            (Some(why), _) => Some(format!("a machine that can do it: {why}")),
            // Random faults hit nobody now and then; a scenario is about what it breaks.
            (None, Some(why)) if self.plan.scenario.is_some() => {
                Some(format!("somebody to do it to: {why}")).filter(|_| !step.effect().undoes())
            }
            _ => None,
        };
        if let (Some(index), Some(waits_for)) = (index, waits_for)
            && !step.optional
        {
            // What was to be provoked is not put to the test.
            let (number, fault) = (index + 1, step.fault);
            let step = format!("step {number}: {fault}");
            self.record(Body::Harness(HarnessEvent::StepMissed { step, waits_for }))?;
        }
        if let Some(reason) = reason {
            self.record(Body::Fault(record.clone()))?;
            return self.handle_ended(act::skipped(index, record, reason));
        }
        // The act comes before its record's way to the disk: a trigger must not wait for that. The
        // record's time is taken first, all the same.
        let begun = Record::new(self.clock.now_ns(), Body::Fault(record.clone()));
        let act = Act { step: step.clone(), nodes, links: asked.links, clock: self.clock };
        let pending =
            step.fault.begin(&act, self).map_err(|error| Failure::harness(anyhow!(error)))?;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let ended = Box::new(act::seen(index, record, pending.await));
            // The loop outlives its tasks, except when it is dropped with them.
            let _ = sender.send(Incoming::Ended(ended)).await;
        });
        self.writer.append(&begun).map_err(Failure::harness)?;
        self.seen(&begun);
        Ok(())
    }

    pub(super) fn handle_ended(&mut self, ended: Ended) -> Result<(), Failure> {
        self.steps_open -= 1;
        let aspect = ended.record.aspect.as_deref().and_then(Aspect::from_name);
        if let (Effect::Restored, Some(aspect)) = (ended.record.effect, aspect) {
            let done = ended.record.outcome == Some(Outcome::Installed);
            for node in &ended.record.nodes {
                self.machines.entry(*node).or_default().restored(aspect, done);
            }
        }
        for op in ended.ops {
            self.record(Body::Op(op))?;
        }
        let done = ended.record.outcome != Some(Outcome::Skipped);
        let (nodes, links) = (ended.record.nodes.clone(), ended.record.links.clone());
        let (id, whom) = (ended.record.id, Resolved { nodes, links });
        self.record(Body::Fault(ended.record))?;
        if let Some(index) = ended.index {
            let hit = Hit { id, ended_ns: self.clock.now_ns(), whom };
            self.scheduler.ended(index, done.then_some(hit));
        }
        Ok(())
    }

    pub(super) fn record_missed(&mut self) -> Result<(), Failure> {
        for missed in self.scheduler.missed() {
            if !self.interrupted && !missed.optional {
                let (step, waits_for) = (missed.step, missed.waits_for);
                self.record(Body::Harness(HarnessEvent::StepMissed { step, waits_for }))?;
            }
        }
        Ok(())
    }
}
