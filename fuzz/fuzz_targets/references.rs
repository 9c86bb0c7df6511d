//! Names that people and archives write: what was read and is written again is
//! read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::digest::{Digest, Id};
use orlop::image::{Query, Reference, clean_path, familiar_repository, parse_repository};
use orlop::time::Time;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        for form in [reference.to_string(), reference.familiar()] {
            assert_eq!(Reference::parse(&form).expect("a reference is one"), reference);
            assert_eq!(Reference::parse_tagged(&form).expect("it has a tag"), reference);
        }
        check_repository(reference.repository());
        let json = serde_json::to_vec(&reference).expect("a text");
        let again: Reference = serde_json::from_slice(&json).expect("what was written");
        assert_eq!(again, reference);
    }
    if let Ok(reference) = Reference::parse_tagged(text) {
        assert_eq!(Reference::parse(text).expect("a tag does no harm"), reference);
    }
    if let Ok(repository) = parse_repository(text) {
        check_repository(&repository);
    }
    if let Ok(query) = Query::parse(text) {
        let printed = query.to_string();
        match Query::parse(&printed) {
            Ok(again) => assert_eq!(again, query, "by way of {printed:?}"),
            Err(error) => panic!("{query:?} is printed as {printed:?}: {error}"),
        }
    }
    if let Some(path) = clean_path(text) {
        assert_eq!(clean_path(&path).as_ref(), Some(&path));
        let inside = path.split('/').all(|part| !matches!(part, "" | ".."));
        assert!(inside, "{path:?} is not clean");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(id) = text.parse::<Id>() {
        assert_eq!(id.to_string(), text);
    }
    let times = [text.parse().ok(), Time::parse_local(text, false), Time::parse_local(text, true)];
    for time in times.into_iter().flatten() {
        let printed = time.to_string();
        assert_eq!(printed.parse::<Time>().expect("a time is one"), time, "by way of {printed}");
        assert!(time.next_second() >= time);
        assert!((Time::from_nanos(time.nanos()) == time) || time.nanos().unsigned_abs() >= 1 << 62);
    }
});

fn check_repository(repository: &str) {
    for form in [repository, familiar_repository(repository)] {
        assert_eq!(parse_repository(form).expect("a repository is one"), repository);
    }
}
