//! A list: append an element, read all of it.

use std::collections::HashMap;

use super::value::Value;
use crate::linearizability::{
    Model, Shortcut, Timed,
    growth::{Growth, growth},
    narrow,
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

    fn shortcut(&self, classes: &[ListOp], ops: &[Timed]) -> Shortcut {
        let mut appends: HashMap<&Value, u32> = HashMap::new();
        let mut longest: Option<(&Vec<Value>, usize)> = None;
        for (place, op) in ops.iter().enumerate() {
            match &classes[op.class as usize] {
                ListOp::Append(value) => {
                    if appends.insert(value, op.class).is_some() {
                        return Shortcut::Inapplicable;
                    }
                }
                ListOp::Read(values) if !op.is_pending() => {
                    if longest.is_none_or(|(other, _)| values.len() > other.len()) {
                        longest = Some((values, place));
                    }
                }
                ListOp::Read(_) => {}
            }
        }
        let mut growth_of = vec![Growth::AddsUnseen; classes.len()];
        let values = longest.map_or(&[][..], |(values, _)| values);
        let longest = longest.map(|(_, place)| place);
        for (at, value) in values.iter().enumerate() {
            match appends.remove(value) {
                Some(class) => growth_of[class as usize] = Growth::Adds(at),
                // It was never appended, or is there twice.
                None => return Shortcut::Invalid { suspects: longest.into_iter().collect() },
            }
        }
        for (place, op) in ops.iter().enumerate().filter(|(_, op)| !op.is_pending()) {
            if let ListOp::Read(read) = &classes[op.class as usize] {
                if !values.starts_with(read) {
                    let suspects = longest.into_iter().chain([place]).collect();
                    return Shortcut::Invalid { suspects };
                }
                growth_of[op.class as usize] = Growth::Reads(read.len());
            }
        }
        for (class, op) in classes.iter().enumerate() {
            if let (ListOp::Read(_), Growth::AddsUnseen) = (op, growth_of[class]) {
                growth_of[class] = Growth::Reads(0); // only of unknown outcome: not looked at
            }
        }
        growth(values.len(), longest, &growth_of, ops)
    }
}
