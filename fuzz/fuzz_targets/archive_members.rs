//! The members of an archive: a file that can seek and a stream say the same, and
//! what they say holds.

#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use orlop::image::{Error, Member, MemberKind, Members, Seekable, Source, Stream, clean_path};
use orlop_fuzz::{InPieces, Plan, pieces, tar};

fuzz_target!(|input: &[u8]| {
    let tar = tar::archive(input, 1 << 20);
    let streamed = scan(Members::new(Stream::new(tar.as_slice())));
    let sought = scan(Members::new(seekable(&tar)));
    match (&streamed.1, &sought.1) {
        (None, None) => assert_eq!(streamed.0, sought.0),
        (Some(one), Some(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("a stream gives {one:?}, a file {other:?}"),
    }
    // A body that is cut off is found at once where one can seek.
    assert!(streamed.0.starts_with(&sought.0) && streamed.0.len() <= sought.0.len() + 1);

    // However a stream comes, and whether its bodies are read.
    let in_pieces = InPieces::new(pieces(&tar, &mut Plan::new(input)));
    let mut members = Members::new(Stream::new(in_pieces));
    let mut at = 0;
    while let Ok(Some(member)) = members.next_member() {
        assert_eq!(member, streamed.0[at]);
        check(&member, at);
        let mut body = Vec::new();
        let start = usize::try_from(member.offset).expect("a place in the archive");
        match at % 3 {
            0 => match members.body().read_to_end(&mut body) {
                Ok(count) => assert_eq!(count as u64, member.size),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            },
            1 => match members.read_body(10_000) {
                Ok(bytes) => {
                    assert_eq!(bytes.len() as u64, member.size);
                    body = bytes;
                }
                Err(Error::TooLarge { .. }) => assert!(member.size > 10_000),
                Err(error) => assert!(matches!(error, Error::Truncated { .. }), "{error}"),
            },
            _ => {}
        }
        assert_eq!(body, tar[start..start + body.len()]);
        at += 1;
    }
    assert!(at <= streamed.0.len());
    assert!(members.next_member().is_ok_and(|member| member.is_none()), "it goes on after its end");
});

fn seekable(tar: &[u8]) -> Seekable<io::Cursor<&[u8]>> {
    Seekable::new(io::Cursor::new(tar)).expect("memory can seek")
}

fn scan(mut members: Members<impl Source>) -> (Vec<Member>, Option<Error>) {
    let mut found = Vec::new();
    loop {
        match members.next_member() {
            Ok(Some(member)) => found.push(member),
            Ok(None) => return (found, None),
            Err(error) => return (found, Some(error)),
        }
    }
}

fn check(member: &Member, at: usize) {
    let is_clean = |path: &str| clean_path(path).as_deref() == Some(path) && !path.is_empty();
    assert_eq!(member.index, at);
    assert!(is_clean(&member.path), "{:?} is not clean", member.path);
    if let MemberKind::Link { target: Some(target), .. } = &member.kind {
        assert!(is_clean(target), "{target:?} is not clean");
    }
    if matches!(member.kind, MemberKind::Link { .. } | MemberKind::Directory) {
        // An old header tells a folder by its name, and may have a body.
        assert!(member.size == 0 || member.kind == MemberKind::Directory);
    }
}
