//! A sort that looks at the budget.
//!
//! Positions are nearly in order as they come: an operation returns soon after it was called. So
//! short runs are sorted, and of two neighbouring runs only what overlaps is merged.

use super::budget::{PACE_STEPS, Pace, Spent};

/// What is sorted without a look.
const RUN: usize = 512;

/// Sorts by a key; what has the same keeps its order. To compare two keys takes so many steps.
pub(crate) fn sort<T: Copy, K: Ord>(
    list: &mut [T],
    steps: usize,
    key: impl Fn(&T) -> K,
    pace: &mut Pace<'_>,
) -> Result<(), Spent> {
    let run = (RUN / steps).clamp(8, RUN);
    for run in list.chunks_mut(run) {
        // A sort of sorted keys compares each with the next.
        pace.steps(run.len() * steps)?;
        run.sort_by_key(&key);
    }
    let (mut size, mut left) = (run, Vec::new());
    while size < list.len() {
        for pair in list.chunks_mut(2 * size) {
            if pair.len() > size {
                merge(pair, size, steps, &mut left, &key, pace)?;
            }
        }
        size *= 2;
    }
    Ok(())
}

/// Merges what is sorted before a place with what is sorted from there.
fn merge<T: Copy, K: Ord>(
    list: &mut [T],
    middle: usize,
    steps: usize,
    left: &mut Vec<T>,
    key: &impl Fn(&T) -> K,
    pace: &mut Pace<'_>,
) -> Result<(), Spent> {
    pace.steps(steps)?;
    let (first, last) = (key(&list[middle]), key(&list[middle - 1]));
    if last <= first {
        return Ok(());
    }
    let from = list[..middle].partition_point(|item| key(item) <= first);
    let to = middle + list[middle..].partition_point(|item| key(item) < last);
    left.clear();
    for some in list[from..middle].chunks(PACE_STEPS) {
        pace.steps(some.len())?;
        left.extend_from_slice(some);
    }
    let (mut a, mut b, mut at) = (0, middle, from);
    while a < left.len() {
        pace.steps(steps)?;
        if b < to && key(&list[b]) < key(&left[a]) {
            list[at] = list[b];
            b += 1;
        } else {
            list[at] = left[a];
            a += 1;
        }
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::sort;
    use crate::linearizability::{
        Unlimited,
        budget::{PACE_STEPS, Pace, Spent},
        hash,
    };

    type Item = (u64, usize);

    /// Nearly in order, in reverse, at random, and with few different keys.
    fn lists(count: usize) -> [Vec<Item>; 4] {
        let list = |key: &dyn Fn(u64) -> u64| (0..count).map(|at| (key(at as u64), at)).collect();
        [
            list(&|at| at + hash(&at) % 20),
            list(&|at| u64::MAX - at),
            list(&|at| hash(&at)),
            list(&|at| hash(&at) % 3),
        ]
    }

    #[test]
    fn a_paced_sort_sorts_and_keeps_the_order_of_equal_keys() {
        for count in [0, 1, 2, 511, 512, 513, 1024, 5000, 30_001] {
            for list in lists(count) {
                for steps in [1, 16, 10_000] {
                    let (mut sorted, mut expected) = (list.clone(), list.clone());
                    let done = sort(&mut sorted, steps, |item| item.0, &mut Pace::new(&Unlimited));
                    expected.sort_by_key(|item| item.0);
                    assert_eq!((done, sorted), (Ok(()), expected));
                }
            }
        }
    }

    /// Work is counted in keys that are looked at.
    #[test]
    fn little_work_lies_between_two_looks_of_a_sort_and_none_after_the_last() {
        for list in lists(100_000) {
            let keys = AtomicUsize::new(0);
            let key = |item: &Item| {
                keys.fetch_add(1, Ordering::Relaxed);
                item.0
            };
            let (last, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let looks = AtomicUsize::new(0);
            let look = || {
                let now = keys.load(Ordering::Relaxed);
                most.fetch_max(now - last.swap(now, Ordering::Relaxed), Ordering::Relaxed);
                looks.fetch_add(1, Ordering::Relaxed);
                false
            };
            sort(&mut list.clone(), 1, key, &mut Pace::new(&look)).unwrap();
            let most = most.into_inner();
            assert!((1..=32 * PACE_STEPS).contains(&most), "{most} keys");
            let all = looks.load(Ordering::Relaxed);
            assert!(all >= list.len() / PACE_STEPS, "{all} looks");
            for end in [1, all / 2, all] {
                let (looks, worked) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let key = |item: &Item| {
                    worked.fetch_add(1, Ordering::Relaxed);
                    item.0
                };
                let look = || {
                    worked.store(0, Ordering::Relaxed);
                    looks.fetch_add(1, Ordering::Relaxed) + 1 >= end
                };
                let done = sort(&mut list.clone(), 1, key, &mut Pace::new(&look));
                assert_eq!((done, looks.into_inner()), (Err(Spent), end));
                assert_eq!(worked.load(Ordering::Relaxed), 0, "nothing is done after the end");
            }
        }
    }
}
