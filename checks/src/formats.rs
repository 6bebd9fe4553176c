//! Histories that others wrote: Jepsen's, Porcupine's, and the logs of servers in the field. Bytes in,
//! records out; the ordinary judge does the rest.

mod clocks;
mod detect;
mod dialect;
mod edn;
mod etcd;
mod field;
mod forms;
mod heard;
mod imported;
mod input;
mod jepsen_edn;
mod jepsen_text;
mod leaderships;
mod operations;
mod own;
mod pace;
mod problem;
mod servers;
mod stamp;
mod teller;
mod zookeeper;

pub use detect::Format;
pub use etcd::{ETCD_EVENTS, EtcdLog};
pub use imported::{Imported, read};
pub use input::Source;
pub use jepsen_edn::write_jepsen_edn;
pub use problem::{FormatError, Problem};
pub use zookeeper::{ZOOKEEPER_EVENTS, ZookeeperLog};
