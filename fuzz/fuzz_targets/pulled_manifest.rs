//! Manifests and names of a hostile registry: whatever comes, they are refused or harmless.
#![no_main]

use hearth_hub::ModelName;
use hearth_hub::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        for digest in manifest.digests() {
            assert_eq!(digest.file_name().len(), "sha256-".len() + 64);
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = text.parse::<ModelName>() {
        assert_eq!(name.manifest_path().components().count(), 4);
        assert_eq!(name.to_string().parse::<ModelName>().ok(), Some(name));
    }
});
