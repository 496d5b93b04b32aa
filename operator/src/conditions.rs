//! The arithmetic of conditions: pure, with the time passed in.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tapekeeper_crds::conditions as types;

use crate::blocker::Blocker;
use crate::snapshot::Taken;

/// Whether something is the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is.
    True,
    /// It is not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What was found out about one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which condition.
    pub condition: &'static str,
    /// Whether it is the case.
    pub truth: Truth,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// It will not pass by itself.
    pub permanent: bool,
}

impl Finding {
    /// It is the case.
    #[must_use]
    pub fn holds(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, truth: Truth::True, reason, message: message.into(), permanent: false }
    }

    /// It is not the case, and may be later.
    #[must_use]
    pub fn fails(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, truth: Truth::False, reason, message: message.into(), permanent: false }
    }

    /// Nobody can tell yet.
    #[must_use]
    pub fn unknown(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { condition, truth: Truth::Unknown, reason, message: message.into(), permanent: false }
    }

    /// It is not the case because of `blocker`.
    #[must_use]
    pub fn blocked(condition: &'static str, blocker: &Blocker) -> Self {
        Self { condition, truth: Truth::False, reason: blocker.reason, message: blocker.message.clone(), permanent: blocker.permanent }
    }
}

/// The findings with their summary: Ready, and kstatus' Reconciling and Stalled. Each finding is a gate, in the order given, but those named in `informative`.
#[must_use]
pub fn summarise(findings: Vec<Finding>, informative: &[&str]) -> Vec<Finding> {
    let paused = findings.iter().find(|finding| finding.condition == types::PAUSED && (finding.truth == Truth::True || finding.reason == "Pausing"));
    let gate = findings.iter().find(|finding| {
        finding.truth != Truth::True
            && finding.condition != types::PAUSED
            && !informative.contains(&finding.condition)
            && !(paused.is_some() && finding.reason == "Paused")
    });
    let mut summary = match (gate, paused) {
        (Some(gate), _) => {
            let ready = Finding { condition: types::READY, truth: Truth::False, ..gate.clone() };
            let (reconciling, stalled) = if gate.permanent {
                (Finding::fails(types::RECONCILING, "Stalled", ""), Finding::holds(types::STALLED, gate.reason, gate.message.clone()))
            } else {
                (Finding::holds(types::RECONCILING, gate.reason, gate.message.clone()), Finding::fails(types::STALLED, "Reconciling", ""))
            };
            vec![ready, reconciling, stalled]
        }
        (None, Some(paused)) => {
            let ready = Finding { condition: types::READY, truth: Truth::False, ..paused.clone() };
            let reconciling = if paused.truth == Truth::True {
                Finding::fails(types::RECONCILING, "Paused", "")
            } else {
                Finding::holds(types::RECONCILING, paused.reason, paused.message.clone())
            };
            vec![ready, reconciling, Finding::fails(types::STALLED, "Paused", "")]
        }
        (None, None) => vec![
            Finding::holds(types::READY, "Ready", "everything is as the spec says"),
            Finding::fails(types::RECONCILING, "Ready", ""),
            Finding::fails(types::STALLED, "Ready", ""),
        ],
    };
    summary.extend(findings);
    summary
}

/// The findings as conditions. `lastTransitionTime` is kept unless the status changed.
#[must_use]
pub fn merge(old: &[Condition], findings: &[Finding], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let status = finding.truth.as_str();
            let since = old
                .iter()
                .find(|condition| condition.type_ == finding.condition && condition.status == status)
                .map(|condition| condition.last_transition_time.clone());
            Condition {
                type_: finding.condition.to_owned(),
                status: status.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.clone(),
                observed_generation: generation,
                last_transition_time: since.unwrap_or(Time(whole_seconds(now))),
            }
        })
        .collect()
}

/// Whether two lists say the same, whatever their order and times.
#[must_use]
pub fn equal_but_for_time(left: &[Condition], right: &[Condition]) -> bool {
    let says = |condition: &Condition| {
        (condition.type_.clone(), condition.status.clone(), condition.reason.clone(), condition.message.clone(), condition.observed_generation)
    };
    let sorted = |list: &[Condition]| {
        let mut list: Vec<_> = list.iter().map(says).collect();
        list.sort();
        list
    };
    sorted(left) == sorted(right)
}

/// The condition of that type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], condition: &str) -> Option<&'a Condition> {
    conditions.iter().find(|found| found.type_ == condition)
}

/// Whether that condition is the case.
#[must_use]
pub fn is_true(conditions: &[Condition], condition: &str) -> bool {
    find(conditions, condition).is_some_and(|found| found.status == "True")
}

/// When a status' snapshot was taken, and since when its conditions are what they are.
#[must_use]
pub fn taken(observed_at: Option<&Time>, conditions: &[Condition]) -> Option<Taken> {
    let at = observed_at?.0;
    let conditions_since = conditions.iter().map(|condition| condition.last_transition_time.0).max().unwrap_or(at);
    Some(Taken { at, conditions_since })
}

/// Kubernetes keeps times in whole seconds; what is compared with it must be, too.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn summary(findings: Vec<Finding>) -> Vec<(&'static str, Truth, &'static str)> {
        summarise(findings, &[types::DATA_FLOWING]).into_iter().take(3).map(|finding| (finding.condition, finding.truth, finding.reason)).collect()
    }

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let first = merge(&[], &[Finding::fails("Ready", "Starting", "one")], Some(1), at(10));
        let second = merge(&first, &[Finding::fails("Ready", "Waiting", "two")], Some(2), at(20));
        let third = merge(&second, &[Finding::holds("Ready", "Ready", "")], Some(2), at(30));
        assert_eq!([&first, &second, &third].map(|list| list[0].last_transition_time.0), [at(10), at(10), at(30)]);
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Waiting", Some(2)));
    }

    #[test]
    fn only_the_times_may_differ_between_equal_conditions() {
        let finding = Finding::fails("Ready", "Starting", "one");
        let one = merge(&[], &[finding.clone(), Finding::holds("Paused", "x", "")], Some(1), at(10));
        let same = merge(&[], &[Finding::holds("Paused", "x", ""), finding.clone()], Some(1), at(99));
        assert!(equal_but_for_time(&one, &same));
        assert!(!equal_but_for_time(&one, &merge(&[], &[finding], Some(1), at(10))));
        assert!(!equal_but_for_time(
            &one,
            &merge(&one, &[Finding::fails("Ready", "Starting", "two"), Finding::holds("Paused", "x", "")], Some(1), at(10))
        ));
    }

    #[test]
    fn the_first_gate_that_is_shut_is_the_reason_why_nothing_is_ready() {
        let findings = vec![
            Finding::holds("SpecValid", "Valid", ""),
            Finding::unknown("TopologyReady", "Waiting", ""),
            Finding::fails("WorkloadAvailable", "Starting", ""),
        ];
        assert_eq!(
            summary(findings),
            [("Ready", Truth::False, "Waiting"), ("Reconciling", Truth::True, "Waiting"), ("Stalled", Truth::False, "Reconciling")]
        );
    }

    #[test]
    fn what_waiting_cannot_cure_stalls() {
        let findings = vec![Finding::blocked("SpecValid", &Blocker::permanent("Forbidden", "no"))];
        assert_eq!(
            summary(findings),
            [("Ready", Truth::False, "Forbidden"), ("Reconciling", Truth::False, "Stalled"), ("Stalled", Truth::True, "Forbidden")]
        );
    }

    #[test]
    fn an_informative_condition_shuts_no_gate() {
        let findings = vec![Finding::holds("SpecValid", "Valid", ""), Finding::fails("DataFlowing", "NoRecentInsert", "")];
        assert_eq!(summary(findings)[0], ("Ready", Truth::True, "Ready"));
    }

    #[test]
    fn a_pause_is_neither_ready_nor_reconciling_nor_stalled() {
        let pods_gone = vec![Finding::fails("WorkloadAvailable", "Paused", ""), Finding::holds("Paused", "Paused", "")];
        assert_eq!(
            summary(pods_gone),
            [("Ready", Truth::False, "Paused"), ("Reconciling", Truth::False, "Paused"), ("Stalled", Truth::False, "Paused")]
        );
        let pods_going = vec![Finding::fails("WorkloadAvailable", "Paused", ""), Finding::fails("Paused", "Pausing", "")];
        assert_eq!(
            summary(pods_going),
            [("Ready", Truth::False, "Pausing"), ("Reconciling", Truth::True, "Pausing"), ("Stalled", Truth::False, "Paused")]
        );
    }
}
