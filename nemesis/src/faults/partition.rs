//! The partitions by name: `isolate`, `halves`, `bridge` and the like. Which links each cuts is its
//! [`Shape`]; how they are cut, and seen to be, is the same for all.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::{fault::Fault, shape::Shape};

/// What there is to know about the partition at this place of [`Shape::ALL`].
const fn info(fault: Fault, place: usize) -> FaultInfo {
    let shape = &Shape::ALL[place];
    FaultInfo {
        fault,
        name: shape.name,
        summary: shape.summary,
        needs: if shape.needs_target { Needs::Target } else { Needs::Nothing },
        undo: Some(Fault::Heal),
        effect: Effect::Cut,
    }
}

/// Every partition, in the order of [`Shape::ALL`].
pub(super) static ALL: [FaultInfo; Shape::ALL.len()] = [
    info(Fault::Isolate, 0),
    info(Fault::Halves, 1),
    info(Fault::MajorityMinority, 2),
    info(Fault::MinorityThird, 3),
    info(Fault::MajoritiesRing, 4),
    info(Fault::Bridge, 5),
    info(Fault::Chain, 6),
    info(Fault::Hub, 7),
    info(Fault::OneWay, 8),
    info(Fault::Primaries, 9),
];

pub(super) struct Partition;

impl Inject for Partition {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::cut(act, host))
    }
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use crate::{fault::Fault, schedule_check::shape_of, shape::Shape};

    #[test]
    fn each_partition_cuts_in_its_own_shape() {
        for (info, shape) in ALL.iter().zip(Shape::ALL) {
            assert_eq!(shape_of(info.fault), Some(shape.shape));
            let kebab: String = (format!("{:?}", info.fault).chars().enumerate())
                .map(|(place, c)| match c.is_uppercase() && place > 0 {
                    true => format!("-{}", c.to_lowercase()),
                    false => c.to_lowercase().to_string(),
                })
                .collect();
            assert_eq!(info.name, kebab, "the tables are in the same order");
            assert!(Fault::ALL.contains(&info.fault));
        }
    }
}
