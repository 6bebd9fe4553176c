use std::{
    fs,
    path::{Path, PathBuf},
};

use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use usurper_history::{
    NodeId,
    control::{DiskError, DiskOp},
};

use super::{Before, Disk, Owner, Store, StoreError, checksum};

const OWNER: Owner<'static> = Owner { node: NodeId(3), cluster: "run-1", forgives: false };
/// With the five letters of the cluster.
const HEADER_BYTES: usize = 8 + 1 + 1 + 2 + 5 + 8 + 4;

fn open(directory: &Path, before: Before) -> Result<(Store, Vec<String>), StoreError> {
    let (store, records) = Store::open(directory, OWNER, before, Arc::default())?;
    let texts = records.into_iter().map(|record| String::from_utf8(record).unwrap()).collect();
    Ok((store, texts))
}

/// A log with two synced records and one that was only written, its process gone.
fn two_synced_and_one_written() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut store, _) = open(directory.path(), Before::Exit).unwrap();
    store.write(b"one").unwrap();
    store.sync().unwrap();
    store.write(b"two").unwrap();
    store.sync().unwrap();
    store.write(b"three").unwrap();
    (directory, path)
}

#[track_caller]
fn error(directory: &Path, before: Before) -> String {
    let error = open(directory, before).unwrap_err().to_string();
    error.replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn an_unsynced_write_survives_a_kill() {
    let (directory, _) = two_synced_and_one_written();
    assert_eq!(open(directory.path(), Before::Exit).unwrap().1, ["one", "two", "three"]);
}

#[test]
fn an_unsynced_write_is_lost_with_the_power() {
    let (directory, _) = two_synced_and_one_written();
    assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["one", "two"]);
    // And it does not come back.
    assert_eq!(open(directory.path(), Before::Exit).unwrap().1, ["one", "two"]);
}

#[test]
fn what_was_recovered_once_survives_a_later_power_failure() {
    let (directory, _) = two_synced_and_one_written();
    open(directory.path(), Before::Exit).unwrap();
    assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["one", "two", "three"]);
}

#[test]
fn a_log_that_lost_its_tail_goes_on_from_there() {
    let (directory, _) = two_synced_and_one_written();
    let (mut store, _) = open(directory.path(), Before::PowerFailure).unwrap();
    store.write(b"four").unwrap();
    store.sync().unwrap();
    drop(store);
    assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["one", "two", "four"]);
}

#[test]
fn a_fresh_directory_has_no_records_after_whatever() {
    for before in [Before::Exit, Before::PowerFailure] {
        let directory = tempfile::tempdir().unwrap();
        assert!(open(directory.path(), before).unwrap().1.is_empty());
    }
}

#[test]
fn a_torn_tail_is_dropped_wherever_it_is_cut() {
    let (directory, path) = two_synced_and_one_written();
    let whole = fs::read(&path).unwrap();
    // "three" and its prefix.
    for missing in 1..=12 {
        let directory = copy(directory.path());
        fs::write(directory.path().join("log"), &whole[..whole.len() - missing]).unwrap();
        assert_eq!(open(directory.path(), Before::Exit).unwrap().1, ["one", "two"]);
    }
}

#[test]
fn a_cut_into_what_was_synced_is_refused() {
    let (directory, path) = two_synced_and_one_written();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 14]).unwrap();
    let expected = "`DIR/log` is corrupt at byte 50: the file ends before what was synced";
    assert_eq!(error(directory.path(), Before::Exit), expected);
    assert_eq!(error(directory.path(), Before::PowerFailure), expected);
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused_by_its_place() {
    let (directory, path) = two_synced_and_one_written();
    let mut bytes = fs::read(&path).unwrap();
    let first = HEADER_BYTES;
    bytes[first + 8] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(
        error(directory.path(), Before::Exit),
        format!("`DIR/log` is corrupt at byte {first}: a record does not match its checksum")
    );
}

#[test]
fn the_log_of_another_node_or_cluster_is_refused() {
    let (directory, _) = two_synced_and_one_written();
    let other =
        |owner| Store::open(directory.path(), owner, Before::Exit, Arc::default()).err().unwrap();
    assert!(matches!(
        other(Owner { node: NodeId(1), ..OWNER }),
        StoreError::Node { found: NodeId(3), .. }
    ));
    assert!(matches!(other(Owner { cluster: "run-2", ..OWNER }), StoreError::Cluster { .. }));
}

#[test]
fn a_log_without_its_watermark_is_not_taken_for_a_fresh_one() {
    let (directory, _) = two_synced_and_one_written();
    fs::remove_file(directory.path().join("watermark")).unwrap();
    let expected = "`DIR/log` is corrupt at byte 0: it has records, but its watermark is gone";
    assert_eq!(error(directory.path(), Before::Exit), expected);
}

#[test]
fn a_log_of_a_later_version_is_refused_by_name() {
    let (directory, path) = two_synced_and_one_written();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 3;
    fs::write(&path, bytes).unwrap();
    assert_eq!(error(directory.path(), Before::Exit), "`DIR/log` has format version 3, expected 2");
}

/// A log with one synced record and a second whose sync failed, and its disk.
fn one_synced_and_one_that_failed() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let (mut store, _) =
        Store::open(directory.path(), OWNER, Before::Exit, Arc::clone(&disk)).unwrap();
    store.write(b"one").unwrap();
    store.sync().unwrap();
    store.write(b"two").unwrap();
    disk.fail(DiskOp::Sync, DiskError::Io, Some(1));
    let error = store.sync().unwrap_err().to_string();
    assert!(error.starts_with("cannot sync"), "{error}");
    (directory, store)
}

#[test]
fn a_sync_after_one_that_failed_saves_nothing() {
    let (directory, mut store) = one_synced_and_one_that_failed();
    store.sync().unwrap();
    store.write(b"three").unwrap();
    store.sync().unwrap();
    drop(store);
    // As long as the kernel has the pages, all looks well.
    let copied = copy(directory.path());
    assert_eq!(open(copied.path(), Before::Exit).unwrap().1, ["one", "two", "three"]);
    assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["one"]);
}

#[test]
fn a_write_to_a_full_disk_leaves_a_torn_tail_that_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let (mut store, _) =
        Store::open(directory.path(), OWNER, Before::Exit, Arc::clone(&disk)).unwrap();
    store.write(b"one").unwrap();
    store.sync().unwrap();
    let whole = fs::metadata(directory.path().join("log")).unwrap().len();
    disk.fail(DiskOp::Write, DiskError::Full, None);
    let error = store.write(b"two").unwrap_err();
    assert!(matches!(&error, StoreError::Io { source, .. }
        if source.kind() == std::io::ErrorKind::StorageFull));
    drop(store);
    assert!(fs::metadata(directory.path().join("log")).unwrap().len() > whole, "nothing is torn");
    assert_eq!(open(directory.path(), Before::Exit).unwrap().1, ["one"]);
}

/// A log that was rewritten to two records, and a third written since.
fn rewritten() -> (TempDir, Store) {
    let (directory, _) = two_synced_and_one_written();
    let (mut store, _) =
        Store::open(directory.path(), OWNER, Before::Exit, Arc::default()).unwrap();
    store.rewrite(&[b"sum".to_vec(), b"three".to_vec()]).unwrap();
    store.write(b"four").unwrap();
    (directory, store)
}

#[test]
fn a_rewritten_log_has_the_new_records_only() {
    let (directory, store) = rewritten();
    drop(store);
    let copied = copy(directory.path());
    assert_eq!(open(copied.path(), Before::Exit).unwrap().1, ["sum", "three", "four"]);
    assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["sum", "three"]);
    assert!(!directory.path().join("log.new").exists());
}

#[test]
fn a_log_is_rewritten_again_and_again() {
    let (directory, mut store) = rewritten();
    store.rewrite(&[b"all".to_vec()]).unwrap();
    store.write(b"five").unwrap();
    store.sync().unwrap();
    drop(store);
    assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["all", "five"]);
}

/// The process dies after the rename: the watermark is still that of the old log.
#[test]
fn a_renamed_log_does_not_need_its_watermark() {
    let (directory, _) = two_synced_and_one_written();
    let watermark = fs::read(directory.path().join("watermark")).unwrap();
    let (mut store, _) =
        Store::open(directory.path(), OWNER, Before::Exit, Arc::default()).unwrap();
    // Longer and shorter than what the watermark says.
    for records in [vec![b"one".to_vec()], vec![b"one".to_vec(); 50]] {
        store.rewrite(&records).unwrap();
        let generation = store.generation;
        let copied = copy(directory.path());
        let old = if generation == 1 {
            watermark.clone()
        } else {
            let numbers = [50_u64, generation - 1].map(u64::to_be_bytes).concat();
            [&numbers[..], &checksum(&[&numbers])].concat()
        };
        fs::write(copied.path().join("watermark"), old).unwrap();
        let count = records.len();
        assert_eq!(open(copied.path(), Before::PowerFailure).unwrap().1, vec!["one"; count]);
        // And its watermark is right from then on.
        assert_eq!(open(copied.path(), Before::PowerFailure).unwrap().1, vec!["one"; count]);
    }
}

#[test]
fn a_rewriting_that_was_not_renamed_never_happened() {
    let (directory, _) = two_synced_and_one_written();
    for torn in [&b""[..], b"USURPLOG", &[7; 200]] {
        fs::write(directory.path().join("log.new"), torn).unwrap();
        assert_eq!(open(directory.path(), Before::Exit).unwrap().1, ["one", "two", "three"]);
    }
}

#[test]
fn a_rewriting_on_a_failing_disk_leaves_the_old_log_whole() {
    for op in [DiskOp::Sync, DiskOp::Write] {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::default());
        let (mut store, _) =
            Store::open(directory.path(), OWNER, Before::Exit, Arc::clone(&disk)).unwrap();
        store.write(b"one").unwrap();
        store.sync().unwrap();
        disk.fail(op, DiskError::Io, Some(1));
        store.rewrite(&[b"sum".to_vec()]).unwrap_err();
        drop(store);
        assert_eq!(open(directory.path(), Before::PowerFailure).unwrap().1, ["one"]);
    }
}

#[test]
fn a_watermark_of_a_later_generation_is_refused() {
    let (directory, store) = rewritten();
    drop(store);
    let numbers = [40_u64, 5].map(u64::to_be_bytes).concat();
    let bytes = [&numbers[..], &checksum(&[&numbers])].concat();
    fs::write(directory.path().join("watermark"), bytes).unwrap();
    let expected = "`DIR/log` is corrupt at byte 8: its watermark is of another generation";
    assert_eq!(error(directory.path(), Before::Exit), expected);
}

#[test]
fn a_log_of_version_1_is_read_and_rewritten() {
    let (directory, path) = two_synced_and_one_written();
    // The same records after the header that had no generation.
    let bytes = fs::read(&path).unwrap();
    let mut old = bytes[..17].to_vec();
    old[8] = 1;
    let sum = checksum(&[&old]);
    old.extend_from_slice(&sum);
    old.extend_from_slice(&bytes[HEADER_BYTES..]);
    let length = (old.len() as u64).to_be_bytes();
    fs::write(&path, &old).unwrap();
    let watermark = [&length[..], &checksum(&[&length])].concat();
    fs::write(directory.path().join("watermark"), watermark).unwrap();
    let (mut store, records) =
        Store::open(directory.path(), OWNER, Before::PowerFailure, Arc::default()).unwrap();
    assert_eq!(records.len(), 3);
    store.rewrite(&[b"sum".to_vec()]).unwrap();
    drop(store);
    assert_eq!(open(directory.path(), Before::Exit).unwrap().1, ["sum"]);
}

fn copy(from: &Path) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["log", "watermark"] {
        fs::copy(from.join(name), directory.path().join(name)).unwrap();
    }
    directory
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_of_what_was_synced_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (directory, store) = rewritten();
        let path = directory.path().join("log");
        drop(store);
        open(directory.path(), Before::Exit).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        prop_assert!(open(directory.path(), Before::Exit).is_err());
    }
}
