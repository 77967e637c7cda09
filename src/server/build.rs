//! Lets the crate build without the web app, and rebuild when the app was built.

use std::path::Path;

fn main() {
    let dist = Path::new("../../web/dist");
    // An absent path would make cargo run this script, and rebuild the crate, every time. That it
    // cannot be made only costs those rebuilds.
    let _ = std::fs::create_dir_all(dist);
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-changed=build.rs");
}
