//! Embeds every scenario of the folder `scenarios`: a table of names and texts, sorted by name.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    // Where this run is, and not where the script was compiled: that may have been another checkout.
    let here = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&here).join("../scenarios").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&root)? {
        let folder = entry?.path();
        if folder.is_dir() {
            for file in fs::read_dir(folder)? {
                files.push(file?.path());
            }
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let rows: Vec<_> = files.iter().map(|file| row(&root, file)).collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("shipped.rs");
    fs::write(out, format!("&[{}]", rows.join(",")))
}

fn row(root: &Path, file: &Path) -> String {
    let name = file.strip_prefix(root).expect("it was found there").with_extension("");
    format!("({:?}, include_str!({:?}))", name.display().to_string(), file.display().to_string())
}
