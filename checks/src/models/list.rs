//! A list: append an element, read all of it.

use std::collections::HashMap;

use super::value::Value;
use crate::linearizability::{
    Budget, Model, Pace, Shortcut, Spent, Timed, narrow,
    pieces::{Pieces, Suspects},
    zones::{Access, zones},
};

/// A list, empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct List;

/// An operation on a list, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListOp {
    Append(Value),
    Read(Vec<Value>),
}

/// Lists as chains, so that equal lists are one and beginnings are shared.
#[derive(Debug, Default)]
pub struct ListChains {
    /// Each link's predecessor, its last element and its length; link 0 is the empty list.
    links: Vec<(u32, Value, usize)>,
    children: HashMap<(u32, Value), u32>,
}

const LINK_BYTES: usize = 128;

impl Model for List {
    type Op = ListOp;
    type State = u32;
    type Arena = ListChains;

    fn initial(&self, chains: &mut ListChains) -> u32 {
        if chains.links.is_empty() {
            chains.links.push((0, Value::Nil, 0));
        }
        0
    }

    fn step(&self, chains: &mut ListChains, state: &u32, op: &ListOp) -> Option<u32> {
        match op {
            ListOp::Append(value) => {
                if let Some(link) = chains.children.get(&(*state, value.clone())) {
                    return Some(*link);
                }
                let link = narrow(chains.links.len());
                chains.links.push((*state, value.clone(), chains.links[*state as usize].2 + 1));
                chains.children.insert((*state, value.clone()), link);
                Some(link)
            }
            ListOp::Read(values) => {
                let mut link = *state;
                if chains.links[link as usize].2 != values.len() {
                    return None;
                }
                for value in values.iter().rev() {
                    let (before, last, _) = &chains.links[link as usize];
                    if last != value {
                        return None;
                    }
                    link = *before;
                }
                Some(*state)
            }
        }
    }

    fn only_observes(&self, op: &ListOp) -> bool {
        matches!(op, ListOp::Read(_))
    }

    /// One link and the way to find it again.
    fn heap_bytes(&self, _: &u32) -> usize {
        LINK_BYTES
    }

    fn describe(&self, op: &ListOp) -> String {
        match op {
            ListOp::Append(value) => format!("append {value}"),
            ListOp::Read(values) => match values.len() {
                0 => "read []".to_owned(),
                1..=8 => format!("read [{}]", crate::phrase::list(values)),
                more => format!("read {more} elements"),
            },
        }
    }

    fn shortcut(&self, classes: &[ListOp], ops: &[Timed], budget: &dyn Budget) -> Shortcut {
        let mut pace = Pace::new(budget);
        match told(classes, ops, &mut pace) {
            Ok(Told::Accesses(values, accesses)) => zones(values, &accesses, ops, budget),
            Ok(Told::Twice) => Shortcut::Inapplicable,
            Ok(Told::Wrong(suspects)) => Shortcut::Invalid { suspects },
            Err(Spent) => Shortcut::OutOfTime,
        }
    }
}

/// What reads tell of appends.
enum Told {
    /// How many values there are, and what each operation does.
    Accesses(usize, Vec<Access>),
    /// Something was appended twice.
    Twice,
    /// Reads contradict each other.
    Wrong(Suspects),
}

fn told(classes: &[ListOp], ops: &[Timed], pace: &mut Pace<'_>) -> Result<Told, Spent> {
    let mut pieces = Pieces::new();
    // All at once, because to grow takes long.
    let mut appends: HashMap<&Value, (u32, u32)> = HashMap::with_capacity(classes.len());
    for op in ops {
        pace.step()?;
        if let ListOp::Append(value) = &classes[op.class as usize] {
            let number = pieces.add();
            if appends.insert(value, (number, op.class)).is_some() {
                return Ok(Told::Twice);
            }
        }
    }
    let mut access_of = vec![Access::Ignored; classes.len()];
    for (place, op) in ops.iter().enumerate().filter(|(_, op)| !op.is_pending()) {
        pace.step()?;
        let class = op.class as usize;
        if let (ListOp::Read(values), Access::Ignored) = (&classes[class], access_of[class]) {
            let mut before = 0;
            for value in values {
                pace.step()?;
                let Some((number, _)) = appends.get(value) else {
                    return Ok(Told::Wrong(vec![place]));
                };
                if let Err(suspects) = pieces.show(before, *number, place) {
                    return Ok(Told::Wrong(suspects));
                }
                before = *number;
            }
            access_of[class] = Access::Reads(before);
        }
    }
    for (number, class) in appends.values() {
        pace.step()?;
        access_of[*class as usize] = pieces.access(*number);
    }
    let mut accesses = Vec::with_capacity(ops.len());
    for op in ops {
        pace.step()?;
        accesses.push(access_of[op.class as usize]);
    }
    Ok(Told::Accesses(pieces.count(), accesses))
}
