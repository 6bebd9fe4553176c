//! The built program, end to end: what it prints, what it leaves behind, how it ends.

#[cfg(test)]
mod abilities;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod etcd;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod reproduce;
#[cfg(test)]
mod run;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod stalls;
#[cfg(test)]
mod suites;
#[cfg(test)]
mod support;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod workload;
