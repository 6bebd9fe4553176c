#![no_main]

mod reader;

use usurper_checks::formats::Format;

libfuzzer_sys::fuzz_target!(|data: &[u8]| reader::read(data, Format::Etcd));
