//! Files that say which images are used: whatever they hold, what is found are
//! names, each once, and reading again finds the same.

#![no_main]

use std::collections::BTreeSet;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use orlop::project::{ComposeOptions, Found, compose, kubernetes};

fuzz_target!(|input: &[u8]| {
    let files = [PathBuf::from("-")];
    let mut options = ComposeOptions { profiles: vec!["*".to_owned()], ..Default::default() };
    options.project_name = Some("p".to_owned());
    for (name, value) in [("A", "a"), ("B", ""), ("TAG", "1")] {
        options.environment.insert(name.to_owned(), value.to_owned());
    }
    // A file that the input names is looked for in a folder that isn't there.
    options.project_directory = Some(PathBuf::from("/nonexistent"));
    let project = || compose(&files, &options, &mut &input[..]);
    // Without a slash it leads nowhere else.
    if !input.contains(&b'/')
        && let Ok(found) = project()
    {
        check(&found);
        assert_eq!(project().expect("it was read before"), found);
    }
    let manifests = || kubernetes(&files, &mut &input[..]);
    if let Ok(found) = manifests() {
        check(&found);
        assert_eq!(manifests().expect("it was read before"), found);
    }
});

fn check(found: &Found) {
    let mut names = BTreeSet::new();
    for used in &found.images {
        assert!(!used.image.is_empty() && !used.by.is_empty(), "{used:?}");
        assert!(names.insert(&used.image), "{} comes twice", used.image);
    }
}
